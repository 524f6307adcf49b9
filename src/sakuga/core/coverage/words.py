"""The words that a chunker of captions must know: those that bound a noun phrase, verbs of captions, and forms of one word.

English captions alone. The closed classes are complete enough for captions; of verbs those stand here that captions use in a
form which a suffix does not give away ("holds", "gather"); what ends in -ing or -ed is told by its place.
"""

from functools import cache


def word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = word_set(
    "a an the this these those his her its their my your our some any each every no another other both all several many "
    "few more most various numerous multiple one two three four five six seven eight nine ten single pair such whose"
)
# Prepositions, conjunctions, pronouns, auxiliaries, adverbs of place: none of them is within a noun phrase.
BOUNDS = word_set(
    "and or but nor as than that which what while when where who whom if so because though although until "
    "in on at to from by for with without within into onto over under above below beneath beside besides between among "
    "across along around about against through throughout behind before after during near toward towards past upon up down "
    "out off of outside inside amid amidst beyond via per like unlike despite except "
    "i you he she it we they me him them us himself herself itself themselves someone something nothing everyone nobody "
    "is are was were be been being am has have had having do does did can could may might will would shall should must "
    "not n't there here then also too very just only still almost nearly rather quite again away together apart aside "
    "forward forwards backward backwards upward upwards downward downwards ahead back left-to-right right-to-left "
    "slightly slowly now once even ever never always often sometimes soon already yet else instead however "
    "s t re ve ll d m etc"
)
COPULAS = word_set("is are was were looks seems appears")
# Verbs by their base form, in whichever form they come.
VERBS = word_set(
    "walk run stand sit lie lean look gaze stare glance watch see hold carry wear grab grip clutch reach point raise lift lower "
    "turn move step jump leap fall drop fly float drift glide swim dive climb crawl kneel crouch bend bow dance sing play "
    "speak talk say shout scream yell laugh smile grin frown cry weep sob blush blink wink nod shake wave clap eat drink chew sip "
    "bite cook pour open close shut push pull throw catch kick punch hit strike slash swing fight chase follow lead flee escape "
    "hide peek emerge appear vanish disappear enter leave exit arrive approach pass cross ride drive steer sail row "
    "rise set shine glow flicker burn blaze explode burst crash break shatter fill cover surround stretch spread hang rest lay "
    "face show reveal depict feature focus capture display convey create cast reflect illuminate frame pan tilt zoom track "
    "push dolly remain stay keep begin start stop continue gather huddle embrace hug kiss touch stroke pet pat hand give "
    "take put place bring tie adjust brush comb wash clean wipe write read draw paint type listen hear think ponder wonder "
    "sleep wake dream yawn stumble trip slip slide roll spin twirl whirl rotate sway tremble shiver flutter billow flow rush race "
    "speed march stride stroll wander sneak creep hover loom tower line dot overlook dominate contrast become get go come make "
    "let try attempt seem feel sweat pant gasp sigh breathe blow struggle wrestle slump collapse scramble dash sprint bounce "
    "drag shoot fire aim land park descend ascend tap press squeeze lick taste smell sniff bark growl meow chirp peer scan scowl "
    "glare smirk pout sneer gesture salute cheer celebrate applaud greet meet argue quarrel whisper answer ask call tell "
    "extend emphasize highlight suggest indicate exude contain include consist stand lie shift sweep trail drip splash ripple "
    "melt crumble tumble plunge soar dart flash sparkle twinkle gleam glisten shimmer linger wait hurry work use wield "
    "hesitate react respond recoil flinch"
)
IRREGULAR_FORMS = {
    "ran": "run", "stood": "stand", "sat": "sit", "lay": "lie", "lies": "lie", "held": "hold", "wore": "wear", "fell": "fall",
    "flew": "fly", "swam": "swim", "rose": "rise", "hung": "hang", "threw": "throw", "caught": "catch", "went": "go", "goes": "go",
    "came": "come", "took": "take", "gave": "give", "saw": "see", "said": "say", "ate": "eat", "drank": "drink", "drove": "drive",
    "rode": "ride", "burns": "burn", "flies": "fly", "cries": "cry", "carries": "carry",
}  # fmt: skip
# Participles that do not end in -ed or -ing: within a phrase they are attributes, at its end they begin a clause.
PARTICIPLES = word_set(
    "worn torn drawn held lit seen shown broken hidden frozen woven strewn thrown cast set bound grown blown bent "
    "lain laid built made done gone written hung swept kept left lost spread shut cut caught taken given driven"
)
# Nouns in -ing and -ed, that no clause begins with.
NOUNS = word_set(
    "evening morning building ceiling clothing painting railing wedding king ring string wing spring thing setting lighting "
    "awning earring swing sling sibling stocking landing crossing living drawing legging opening clearing parking swimming "
    "dining sewing training ping-pong bed seed weed shed sled reed breed speed red head bread thread"
)
# Adjectives: a verb cannot follow one, so that "long lines" are no lines that do something, and they are never a head.
ADJECTIVES = word_set(
    "red orange yellow green blue purple violet pink brown black white gray silver golden beige maroon teal turquoise crimson "
    "scarlet navy tan cream ivory olive dark light pale bright deep dim vivid pastel colorful multicolored "
    "big large small little tiny huge giant tall short long thin thick slim slender narrow wide broad heavy massive vast "
    "young old elderly adult teenage middle-aged new ancient modern vintage rustic classic "
    "curly straight wavy spiky messy tousled shaggy sleek bushy fluffy silky bald bare loose tight baggy fitted "
    "soft hard smooth rough sharp round square flat empty full open closed clear cloudy sunny rainy snowy foggy misty stormy "
    "warm cold cool hot wet dry dusty muddy dirty clean shiny glossy matte metallic wooden woolen silken leather stone brick "
    "happy sad angry upset calm serious stern surprised shocked worried tired sleepy nervous confident playful cheerful gentle "
    "quiet busy lush dense sparse distant nearby same similar identical plain simple ornate elegant fancy casual formal "
    "traditional comfy cozy front rear main upper central beautiful pretty handsome strong muscular fat chubby "
    "lone wild free single visible plaid striped low high static eye-level male female half left right bottom middle close"
)
NOUNS_TOO = word_set(
    "light orange leather stone brick olive male female"
)  # adjectives that may be what a phrase is about
# What is said of the picture and of everything, and so of nothing.
EMPTY = word_set(
    "shot camera scene view frame image picture video clip angle background foreground side front bottom middle center "
    "left right part way thing moment time kind sort variety number group lot bit couple pair set setting style focus "
    "atmosphere mood sense expression composition level distance direction movement end edge rest"
)
ALIAS = {
    "grey": "gray", "coloured": "colored", "colour": "color", "blond": "blonde", "hairs": "hair", "spectacle": "glasses",
    "spectacles": "glasses", "eyeglasses": "glasses", "women": "woman", "men": "man", "children": "child", "people": "person",
    "feet": "foot", "teeth": "tooth", "knives": "knife", "leaves": "leaf", "wolves": "wolf", "shelves": "shelf", "mice": "mouse",
    "scarves": "scarf", "wives": "wife", "lives": "life", "halves": "half", "hooves": "hoof", "geese": "goose",
    "pony-tail": "ponytail",
    "pig-tail": "pigtail", "tshirt": "t-shirt", "ponytailed": "ponytail",
    "pyjama": "pajama", "moustache": "mustache", "clothe": "clothes",
}  # fmt: skip
# One word for a person by their hair.
BY_HAIR = {"redhead": "red", "redheaded": "red", "brunette": "brown", "blonde": "blonde", "blondes": "blonde"}
_SAME = word_set(
    "glasses clothes jeans pants trousers shorts overalls scissors goggles binoculars dress glass grass class cross boss kiss "
    "mattress compass canvas bus gas lens iris bias stairs this his always perhaps tennis chess princess waitress mess press "
    "headdress fortress witness harness business process address wilderness darkness happiness sadness brightness sunglasses "
    "eyeglasses sunless boundless pyjamas series species bonus campus cactus octopus virus circus focus octopus christmas sheer"
)


@cache
def fold(word: str) -> str:
    """The one form that stands for a word's spellings and numbers: boots -> boot, grey -> gray, women -> woman."""
    if word in ALIAS:
        return ALIAS[word]
    if len(word) < 4 or word in _SAME or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        singular = word[:-3] + "y"
    elif word.endswith(("ches", "shes", "sses", "xes", "zes", "oes")) and word not in (
        "shoes",
        "canoes",
        "toes",
        "aches",
    ):
        singular = word[:-2]
    else:
        singular = word[:-1]
    return ALIAS.get(singular, singular)


@cache
def base(word: str) -> str:
    """The base form of a verb that ends in -s: watches -> watch, carries -> carry."""
    if word in IRREGULAR_FORMS:
        return IRREGULAR_FORMS[word]
    for end, instead in (("ies", "y"), ("es", ""), ("s", "")):
        if word.endswith(end) and word.removesuffix(end) + instead in VERBS:
            return word.removesuffix(end) + instead
    return word


@cache
def part_of(word: str) -> str | None:
    """The noun of an attribute made of it: haired -> hair, eyed -> eye, legged -> leg; None where there is none."""
    if not word.endswith("ed") or (len(word) < 5 and word != "eyed"):
        return None
    stem = word[:-2]
    if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "sl":
        return stem[:-1]
    return word[:-1] if word in _SILENT else fold(stem)


_SILENT = word_set("eyed faced sleeved nosed tied edged boned striped lined framed tongued themed scaled caped")
