"""How the files of the tiny members are named, and what their tokenizer knows beside words: of the trained ones, and of the
random ones that tests make."""

TRANSFORMER_FILES = {
    "full": "transformer.safetensors",
    "high": "high_noise_model.safetensors",
    "low": "low_noise_model.safetensors",
}  # by expert
VAE_FOLDER, VAE_FILE = "vae", "diffusion_pytorch_model.safetensors"
TEXT_FOLDER, TEXT_FILE = "text_encoder", "model.safetensors"
TOKENIZER_FOLDER, TOKENIZER_FILE = "tokenizer", "tokenizer.json"
CONFIG_FILE = "config.json"
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
SILU_GAIN = 1.68  # restores unit variance after SiLU: E[silu(x)^2] = 0.356

# Sentences about the rest of the world, so that the tokenizer has pieces for a LoRA's trigger and for other captions.
OTHER_CAPTIONS = (
    "a girl with short brown hair runs along the sea wall, her coat blowing in the wind, seen from the side.",
    "a young man in a white shirt stands at the window of a train and looks out over the fields at night.",
    "wide shot of a small town on a hill under summer clouds, the camera moves slowly to the right.",
    "close up of an old woman's face, she smiles and turns her head, warm light from the left.",
    "two children walk through tall green grass beside a river, birds fly up, the background is painted.",
    "a black cat sits on the roof of a house in the rain, the street below is lit by a red lamp.",
    "the hand of the pilot pulls a lever, sparks and smoke fill the dark room, fast motion, animation.",
    "a car drives down a mountain road towards the blue sky, the forest moves past in the foreground.",
)
