"""Rules about form: lists, line breaks, markdown, refusals, what is cut off, repeats itself, is too long or in another language."""

import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from itertools import pairwise
from typing import cast

from .rule import HIDDEN, Hit, Hits, Subject, Whole, any_in, word_set

# ---- lists, lines, marks --------------------------------------------------------------------------------------------------

_LINE_MARK = re.compile(
    r"(?m)^[ \t]*(?P<mark>(?:\(?\d{1,2}[.)]|[-*•–—▪●◦+]|\(?[a-hivx]{1,3}\)|(?:step|point|item) \d+[:.]|\d{1,2}:|"
    r"(?:i{1,3}|iv|v)\.)[ \t]+)(?=\S)",
    re.I,
)
# A number within a line counts beside the next one alone: `1. ... 2. ...`, `a) ... b) ...`, `i. ... ii. ...`, `1- ... 2- ...`.
# What stands where one is, the order that they count in, the pattern.
_Counter = tuple[tuple[str, ...], tuple[str, ...], re.Pattern[str]]
_NUMBERS: _Counter = (
    ("1.", "1)", "1- ", "1: "),
    tuple(str(n) for n in range(1, 21)),
    re.compile(r"(?:^|(?<=[\s·]))(?P<mark>(?:\((?P<a>\d{1,2})\)|(?P<b>\d{1,2})[-.:)])\s+)(?=[\"“A-Za-z*])"),
)
_LETTERS: _Counter = (
    (" a)", "(a)", " A)", "(A)"),
    tuple("abcdefgh"),
    re.compile(r"(?:^|(?<=[\s·]))(?P<mark>(?:\((?P<a>[a-h])\)|(?P<b>[a-h])\))\s+)(?=\S)", re.I),
)
_ROMANS: _Counter = (
    (" i.", " i)", "(i)", " I.", " I)", "(I)"),
    ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii"),
    re.compile(r"(?:^|(?<=[\s·]))(?P<mark>(?:\((?P<a>[iv]{1,4})\)|(?P<b>[iv]{1,4})[.)])\s+)(?=\S)", re.I),
)
_COUNTERS = (_NUMBERS, _LETTERS, _ROMANS)
_INLINE_DASH = re.compile(r"(?:^|(?<=\s))(?P<mark>[-–*]\s+)")
_INLINE_BULLET = re.compile(r"(?P<mark>[ \t]*[•▪●◦]\s*)")
_LIST_STEMS = ("\n", "•", "●", "▪", "◦", "- ", "– ", "* ", *(first for firsts, _, _ in _COUNTERS for first in firsts))


def lists(subject: Subject, whole: Whole) -> Hits:
    """Numbers and bullets of a list."""
    text, start = subject.text, len(subject.trigger) if subject.begun else 0
    if not any_in(text, _LIST_STEMS):
        return
    marks = list(_LINE_MARK.finditer(text, start))
    marks = marks if "\n" in text or start == 0 or len(marks) > 1 else []
    marks = [m for m in marks if len(marks) > 1 or "\n" in text[: m.start()]]
    dashes = list(_INLINE_DASH.finditer(text, start))
    if len(dashes) > 1 and not subject.plain[start : dashes[0].start()].strip("·. ,:;"):
        marks += dashes
    for firsts, order, pattern in _COUNTERS:
        if any_in(text, firsts):
            marks += _counted(list(pattern.finditer(text, start)), order)
    marks += _INLINE_BULLET.finditer(text, start)
    for at, end in sorted({m.span("mark") for m in marks}):
        inline = text[:at].rstrip(" ")[-1:].isalnum()
        at = len(text[:at].rstrip(" ")) if inline else at
        yield Hit(at, end, "it is a list; write sentences", ", " if inline else "")


def _counted(numbers: list[re.Match[str]], order: tuple[str, ...]) -> list[re.Match[str]]:
    """Of the numbers within a line those that count on, where two that follow each other do."""
    places = [order.index(n) if (n := (found["a"] or found["b"]).lower()) in order else -2 for found in numbers]
    if not any(b == a + 1 for a, b in pairwise(places)):
        return []
    return [found for found, at in zip(numbers, places, strict=True) if at - 1 in places or at + 1 in places]


_BREAK = re.compile(r"\s*(?:\r?\n|\r|\u2028|\\n)\s*")


def line_breaks(subject: Subject, whole: Whole) -> Hits:
    """Line breaks: trainers that take a line for a caption see the first alone, and prompts have none."""
    if not any_in(subject.text, ("\n", "\r", "\u2028", "\\n")):
        return
    for found in _BREAK.finditer(subject.text):
        if found.end() < len(subject.text) and found.start() > 0:
            listed = subject.text[found.start() - 1].isalnum() and _LINE_MARK.match(subject.text, found.end())
            yield Hit(*found.span(), "the words go on in another line", ", " if listed else " ")


_MARKDOWN = re.compile(
    r"(?P<o1>\*\*\*?|__)(?=\S)(?P<i1>[^*_\n]+?)(?P=o1)|(?<![\w*])\*(?=[^\s*])(?P<i2>[^*\n]+?)\*(?![\w*])"
    r"|(?<!\w)_(?=[^\s_])(?P<i5>[^_\n]+?)_(?!\w)"
    r"|(?m:^[ \t]*#{1,6}[ \t]+)|(?<=\s)#{2,6}[ \t]+|```\w*|(?<!`)`(?P<i3>[^`\n]+)`|\[(?P<i4>[^\]\n]+)\]\([^)\n]+\)|"
    r"(?m:^[ \t]*>[ \t]+)"
    r"|</?(?:b|i|p|br|em|strong|div|span|ul|li|ol|h\d|u|caption|think|answer|image|video)\s*/?>|(?m:^\s*(?:-{3,}|"
    r"\*{3,}|={3,})\s*$)|\*\*"
    r"|(?P<entity>&(?:[a-z]{2,8}|#\d{2,5}|#x[\da-f]{2,5});)"
    r"|<\|?/?(?:s|eos|bos|pad|unk|im_start|im_end|end|endoftext|eot_id|assistant|user|system)\|?>|\[/?inst\]",
    re.I,
)


def markdown(subject: Subject, whole: Whole) -> Hits:
    """Marks of markdown or HTML, and a model's own marks of where a text ends."""
    start = len(subject.trigger) if subject.begun else 0
    if not any_in(subject.text, "*_#`<>[=&") and "---" not in subject.text:
        return
    for found in _MARKDOWN.finditer(subject.text, start):
        inner = next((i for i in (found["i1"], found["i2"], found["i3"], found["i4"], found["i5"]) if i), "")
        inner = unescape(found["entity"]) if found["entity"] else inner
        yield Hit(*found.span(), "these are marks of markdown, which would be read as words", inner)


# ---- refusals -----------------------------------------------------------------------------------------------------------

_NOT_ABLE = (
    r"(?:cannot|can ?not|can['’]?t|am (?:unable|not able)(?: to)?|['’]m (?:unable|not able)(?: to)?|won['’]?t|"
    r"will not|could(?: not|n['’]t)|am not (?:allowed|permitted)(?: to)?|do(?: not|n['’]t) (?:feel comfortable|"
    r"have))"
)
_REFUSAL = re.compile(
    r"(?<!\w)(?:(?:i(?: am|['’]m)) (?:so |very |really |truly )?(?:sorry|afraid|unable|not able|just an? (?:ai|"
    r"language)|an ai)|i apologi[sz]e|my apologies|"
    rf"(?:sorry|unfortunately),? (?:but )?(?:i|we|this|the|it)\b[^.]{{0,24}}{_NOT_ABLE}|"
    rf"(?:i|we)(?:['’]m)? ?{_NOT_ABLE} (?:\w+ ){{0,2}}?(?:describ\w+|provid\w+|help|assist\w*|identif\w+|see|view|"
    rf"comment|compl\w+|creat\w+|generat\w+|fulfil\w*|"
    r"process\w*|analy[sz]\w+|determin\w+|caption\w*|access|discuss\w*|engage|respond|answer|continue|recogni[sz]e|"
    r"watch|open|interpret|make out|the ability|do that|"
    r"any (?:image|video|visual))|"
    r"as an? (?:ai|artificial|large|language|text-based|vision)\b|(?:large )?language model|"
    r"not possible for (?:me|us)|(?:against|violat\w+|goes against|contrary to|due to|because of|under) (?:my|our|"
    r"the|its)? ?(?:\w+ )?(?:polic(?:y|ies)|guidelines|programming|rules|terms)|"
    r"unable to (?:process|provide|view|describe|assist|identify|analy[sz]e|access|generate|caption|see|fulfil\w*|"
    r"comply|watch|open|load|help)|"
    r"(?:cannot|can['’]?t|can not|could not|couldn['’]t) be (?:described|processed|captioned|displayed|analy[sz]ed|"
    r"loaded|provided)|"
    r"(?:please|could you|you may|feel free to) (?:provide|upload|share|attach|let me know|try again)|"
    r"if you (?:can|could|have|need|provide|would like)|"
    r"no (?:image|video|picture|frames?|content|file) (?:was|is|has been|were|to|seems|provided|attached|available)|"
    r"(?:content|safety|usage) (?:\w+ )?(?:polic|guideline|filter)\w*|inappropriate content|explicit content|(?:error|"
    r"exception) ?:? ?\d{3}|rate limit|request (?:(?:was|has been|is|could not be|cannot be) )?(?:failed|timed out|blocked|"
    r"declined|denied|rejected|refused|processed|completed|fulfilled)|"
    r"(?:not enough|insufficient) (?:\w+ )?(?:information|context|data)\b|"
    r"n/a|null|none|undefined|\[?(?:blocked|error|no caption|no description)(?: available)?\]?)(?!\w)",
    re.IGNORECASE,
)  # fmt: skip
# One of these stands in whatever the pattern matches.
_REFUSAL_STEMS = (
    "sorry", "afraid", "unable", "not able", "apolog", "unfortunately", "can't", "can’t", "cannot", "can not", "cant ",
    "could not", "couldn", "could you", "won't", "won’t", "will not", "not allowed", "not permitted", "do not", "don't", "don’t",
    "an ai", "artificial", "language", "text-based", "as a large", "as a vision", "polic", "guideline", "programming", "rules",
    "terms", "please", "you may", "feel free", "if you", "no image", "no video", "no picture", "no frame", "no content", "no file",
    "no caption", "no description", "safety", "usage", "explicit", "inappropriate", "error", "exception", "limit", "request", "n/a",
    "null", "none", "undefined", "blocked", "not possible", "violat", "not enough", "insufficient",
)  # fmt: skip
_SORRY = re.compile(rf"[{HIDDEN}\W]*(?:sorry|unfortunately|apologies)(?=[,.!]| (?:but|i|we|for|there|no)\b)")
_PLAIN_WORDS = re.compile(r"(?:n/a|null|none|undefined|\[?(?:blocked|error)\]?)$", re.IGNORECASE)


def refusals(subject: Subject, whole: Whole) -> Hits:
    """What a model says instead of a caption."""
    asked = any_in(subject.plain, _REFUSAL_STEMS)
    found = (_SORRY.match(subject.plain) or _REFUSAL.search(subject.plain)) if asked else None
    if found is None:
        return
    if _PLAIN_WORDS.match(found[0]) and len(subject.words) > 1:  # such a word counts where it is all there is
        return
    yield Hit(*found.span(), "the model refused or apologised; caption it anew")


_NOTHING = re.compile(rf"[\W_{HIDDEN}]*")


def empty(subject: Subject, whole: Whole) -> Hits:
    """No words but the trigger."""
    bare = subject.text[len(subject.trigger) :] if subject.begun else subject.text
    if _NOTHING.fullmatch(bare) or (subject.trigger and bare.strip(" .,'\"“”").lower() == subject.trigger.lower()):
        yield Hit(0, len(subject.text), "it says nothing but the trigger" if subject.text.strip() else "it is empty")


# ---- cut off ------------------------------------------------------------------------------------------------------------

_DANGLING = word_set(
    "a an the and or but nor with of in on at to from by for into onto over under behind beside between through "
    "against toward towards near across along around beneath above below while as that which who whose where when "
    "because although is are was were be being has have her his their its my our your this these those very "
    "slightly wearing holding including featuring like than so if not also then she he they creating casting giving "
    "showing revealing"
)
# Words that end a sentence as well as they hang: `the room she walks in`, `the girl looks over`.
_ENDING_TOO = word_set(
    "in on over under behind through near across along around above below so by to that his this not is are her like"
)
# The same words as they end a note on the view: `from above`, `slow zoom in`, `she walks by`.
_VIEWED = re.compile(
    r"(?:(?:seen |viewed |shot )?from (?:above|below|behind|across|under)|(?:zoom|push|dolly|pull|track|truck|crane|pan|tilt|"
    r"mov|fad)(?:s|es|ies|ing|e)?[- ](?:\w+ )?(?:in|over|by|along|across|through))$"
)
_ENDED = re.compile(rf"[.!?…]['\"”’)\]」{HIDDEN}]*$")
_SENTENCE = re.compile(r"[^.!?…]+[.!?…]+")
_CAMERA_NOTE = re.compile(
    r"\b(?:shot|view|angle|close-?up|camera|perspective|light|lighting|framing|pan|zoom|tilt|depth of field)\b"
)
FULL = 5  # words: a last piece without a full stop that is shorter may be a note, as `Night, rain`


def unfinished(subject: Subject, whole: Whole) -> Hits:
    """A caption that stops in the middle of a sentence: the captioner ran into its limit."""
    text = subject.plain.rstrip()
    if not text or not subject.words:
        return
    bare = text.rstrip(".… ")
    if text.endswith((",", ";", ":", "-", "–", "—", "(", "&", "/")):
        last = len(text) - 1
        yield Hit(last, last + 1, f"it ends in '{text[last]}'", "." if text.endswith((",", ";")) else None)
        return
    last_word = subject.words[-1]
    at = bare.rfind(last_word)
    hanging = bare.endswith(last_word) and last_word in _DANGLING
    if text.endswith(("...", "…")) and not hanging:
        start = len(bare)
        yield Hit(start, len(text), "it breaks off", ".")
        return
    if _ENDED.search(text):
        if hanging and last_word not in _ENDING_TOO:
            yield Hit(at, at + len(last_word), f"it stops after '{last_word}'")
        return
    if hanging:
        if not _VIEWED.search(bare):
            yield Hit(at, at + len(last_word), f"it stops after '{last_word}'")
        return
    ended = [s for s in _SENTENCE.findall(text) if len(s.split()) >= 3]
    tail = re.split(r"[.!?…]", text)[-1]
    if len(ended) >= 2 and len(tail.split()) >= FULL and not _CAMERA_NOTE.search(tail) and not text.endswith(HIDDEN):
        yield Hit(len(text) - len(tail.lstrip()), len(text), "its last sentence has no end, as the others have")


_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ("“", "”"), ("«", "»"), ("「", "」"))
_NUMBERING = re.compile(r"(?m)((?:^|(?<=\s))(?:\d{1,2}|[a-z]))\)")  # what takes its place is as long
_INCHES = re.compile(r"(?<=\d)\"")


def unbalanced(subject: Subject, whole: Whole) -> Hits:
    """A quotation mark or bracket without its other."""
    if not any_in(subject.text, '"()[]{}“”«»「」'):
        return
    text = _NUMBERING.sub(r"\1 ", subject.text)
    text = _INCHES.sub("″", text) if text.count('"') % 2 else text
    if text.count('"') % 2:
        at = text.rfind('"')
        yield Hit(at, at + 1, "a quotation mark has no other")
    for opening, closing in _PAIRS:
        if text.count(opening) != text.count(closing):
            at = max(text.rfind(opening), text.rfind(closing))
            yield Hit(at, at + 1, f"'{text[at]}' has no other")
            return


# ---- repetition ---------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[.!?)]")  # a full stop counts: phrases do not run over it
_TWICE_IS_FINE = word_set(
    "very had that so really ha no go knock tap bye far much many long big up round now there one ever click clack "
    "drip tick"
)
_STOPS_AT = re.compile(r"[.!?\n]")
_SENTENCES = re.compile(r"[^.!?\n]+[.!?\n]*")
_BY_TURNS = word_set("on upon after by and over")
LONGEST_LOOP = 12  # words
LOOP = 5  # words that stand three times in a caption are a loop, not a manner of speaking
LOOPS = 3


def repetition(subject: Subject, whole: Whole) -> Hits:
    """A sentence said twice, or a phrase in a loop."""
    text = subject.plain
    again = list(_said_again(text))
    if again:
        yield from again
        return
    words = _TOKEN.findall(text)
    loops = list(_loops(words))
    again_at = None if loops else _frequent(words)
    if not loops and again_at is None:
        return
    places = [found.span() for found in _TOKEN.finditer(text)]
    for begin, end, why in loops:
        named = end - begin == 1 and "," in text[places[begin - 1][1] : places[begin][0]]  # `horses, horses, a hand`
        if not named:
            yield Hit(places[begin - 1][1], places[end - 1][1], why, "")
            return
    if again_at is not None:
        yield Hit(places[again_at][0], places[again_at + LOOP - 1][1], "these words stand there again and again")


def _said_again(text: str) -> Hits:
    """The sentences that stand there already."""
    pieces = [piece.strip() for piece in _STOPS_AT.split(text)]
    if len(set(pieces)) == len(pieces):
        return
    seen: set[str] = set()
    for found in _SENTENCES.finditer(text):
        key = " ".join(_TOKEN.findall(found[0].rstrip(" .!?\n")))
        if key in seen and key.count(" ") >= 2:
            start = found.start() + len(found[0]) - len(found[0].lstrip())
            yield Hit(start, found.end(), "this sentence stands there already", "")
        seen.add(key)


def _loops(words: list[str]) -> Iterator[tuple[int, int, str]]:
    """The stretches [begin, end) of words that say again what stands right before them. They do not overlap."""
    places: dict[str, list[int]] = {}
    told = 0  # where the last one ends
    for i, word in enumerate(words):
        near = places.setdefault(word, [])
        while near and i - near[0] > LONGEST_LOOP:
            near.pop(0)
        for before in near if i >= told else ():
            length = i - before
            if words[before:i] != words[i : i + length] or _by_intent(words[before:i]):
                continue
            told = i + length
            while words[told : told + length] == words[before:i]:
                told += length
            yield i, told, f"'{' '.join(words[before:i])}' is said again at once"
            break
        near.append(i)


def _by_intent(words: list[str]) -> bool:
    """Whether words may be said twice: very very, plate on plate on plate."""
    if len(words) == 1:
        return words[0] in _TWICE_IS_FINE or (len(words[0]) < 2 and words[0] != "a") or words[0].isdigit()
    return len(words) == 2 and bool(_BY_TURNS & set(words))


def _frequent(words: list[str]) -> int | None:
    """Where a phrase of LOOP words stands for the third time."""
    often = {word for word, count in Counter(words).items() if count >= LOOPS and word.isalnum()}
    if len(often) < 2:
        return None
    streak, runs = 0, {}
    for i, word in enumerate(words):
        streak = streak + 1 if word in often else 0
        if streak >= LOOP:
            runs[i - LOOP + 1] = tuple(words[i - LOOP + 1 : i + 1])
    counts = Counter(runs.values())
    return max((i for i, run in runs.items() if counts[run] >= LOOPS), default=None)


# ---- language -----------------------------------------------------------------------------------------------------------

# Greek, Cyrillic, Hebrew and Arabic, the scripts of India, Thai, Hangul, kana, Chinese characters.
_SIGNS = (
    r"\u0370-\u03ff\u0400-\u052f\u0590-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3130-\u318f"
    r"\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uff66-\uff9f"
)
_FOREIGN_SCRIPT = re.compile(rf"[{_SIGNS}][{_SIGNS}\u3000-\u303f\uff00-\uffef ,]*")
_SAID = re.compile(
    r"(?:read(?:s|ing)?|says?|saying|words?|texts?|characters?|kanji|hiragana|katakana|letters?|lettering|label\w*|"
    r"title\w*|written|sign|marked|inscribed|logo|name|brand)[ :,]*(?:the |in \w+ )?[(]?$"
)
# Words that are frequent in one language and are none in the others or in English.
_STOPS = {
    "English": "the and with of is are in on her his a an as to at their while from by into",
    "German": "der die das und ist mit ein eine einer einem einen nicht auf dem den sich im ihr sein trägt steht "
    "sie vor wird sind hält sitzt während",
    "French": "le les des une est dans avec sur et du au aux qui elle il ses sa son cheveux porte tandis "
    "une femme homme fille debout",
    "Spanish": "el los las una en con y del su mujer hombre chica niña lleva mientras está sobre pelo que por un se al lado",
    "Italian": "il gli una con che della di nel sul una donna uomo ragazza indossa mentre capelli su e sta è lo nella alla",
    "Portuguese": "os uma com em do da no na mulher homem menina enquanto cabelo está veste ao um ela ele e que seu sua",
    "Dutch": "de het een en met van op zijn haar vrouw meisje jongen draagt staat terwijl naast zit voor aan achter",
    "Polish": "na się jest i w z kobieta dziewczyna stoi nosi przed do jej włosy mężczyzna siedzi ulicy",
    "Turkish": "bir ve kadın adam kız saçlı duruyor oturuyor giyen yanında bu ile için gökyüzü",
    "Indonesian": "yang dan di dengan seorang wanita pria gadis sedang berdiri duduk rambut memakai ke pada ini",
    "Swedish": "och en ett är på med kvinna flicka pojke står sitter hår som av framför bakom bär medan i det den",
    "Vietnamese": "một cô gái người đàn ông đang trong và với của có tóc mặc đứng ngồi trên",
    "Romanized Japanese": "wa ga wo ni no desu shite iru onna otoko kanojo kare ushiro mae de imasu",
}
_LANGUAGES: dict[str, list[str]] = {}
for _language, _words in _STOPS.items():
    for _stop in set(_words.split()):
        _LANGUAGES.setdefault(_stop, []).append(_language)
SURE = 3  # stop words that must speak for a language; fewer may be names
FOREIGN = 2  # characters of another script, in a row, that are no slip
MAJORITY = 5  # captions from which on the set itself tells its language


def language_of(subject: Subject) -> str:
    """The language of a caption by script and stop words; English where nothing speaks against it."""
    if not subject.text.isascii():
        letters = sum(c.isalpha() for c in subject.plain)
        strange = sum(len(found[0].replace(" ", "")) for found in _FOREIGN_SCRIPT.finditer(subject.plain))
        if letters and strange > letters / 2:
            return "another script"
    votes = Counter(language for word in subject.words for language in _LANGUAGES.get(word, ()))
    if not votes:
        return "English"
    best, count = votes.most_common(1)[0]
    return best if count >= SURE and count > votes["English"] * 1.5 else "English"


def language(subject: Subject, whole: Whole) -> Hits:
    """Another language than that of the other captions (quoted words may be of any)."""
    if "languages" not in whole.memo:
        whole.memo["languages"] = {other.item: language_of(other) for other in whole.subjects}
    languages = cast(dict[str, str], whole.memo["languages"])
    if "language" not in whole.memo:
        most = Counter(languages.values()).most_common(1)[0][0]
        whole.memo["language"] = most if len(whole.subjects) >= MAJORITY else "English"
    usual, this = whole.memo["language"], languages[subject.item]
    if this != usual:
        start = len(subject.trigger) if subject.begun else 0
        yield Hit(start, len(subject.text), f"it is in {this}, most captions are in {usual}")
    elif usual != "another script" and not subject.text.isascii():
        yield from _strange_words(subject)


def _strange_words(subject: Subject) -> Hits:
    """The first words of another script that are neither quoted nor said to stand there."""
    text = subject.plain
    for found in _FOREIGN_SCRIPT.finditer(text):
        words = found[0].strip(" ,、。")
        open_quote = text[: found.start()].endswith(("「", "『", "“", '"'))
        if (
            len(words) >= FOREIGN
            and not open_quote
            and not _SAID.search(text[max(0, found.start() - 30) : found.start()])
        ):
            yield Hit(found.start(), found.start() + len(words), "these words are of another script and not quoted")
            return


# ---- length -------------------------------------------------------------------------------------------------------------

# Measured with SentencePiece vocabularies of 256,000 pieces on English captions: 1.2 to 1.3 pieces to a word or mark.
PIECES_A_WORD = 1.25
FAR_OFF = 2  # no caption has twice the tokens that are estimated: the tokenizer need not be opened
PIECES_A_SIGN = 0.75  # of a script without spaces
_PIECES = re.compile(r"[^\W_]+|[^\w\s]")


def estimated_tokens(text: str) -> int:
    """About how many tokens a text is, where no tokenizer is at hand. With the end mark."""
    signs = sum(len(found[0].replace(" ", "")) for found in _FOREIGN_SCRIPT.finditer(text))
    words = len(_PIECES.findall(_FOREIGN_SCRIPT.sub(" ", text)))
    return round(words * PIECES_A_WORD + signs * PIECES_A_SIGN) + 1


def too_long(subject: Subject, whole: Whole) -> Hits:
    """More tokens than the text encoder takes: what stands behind is never read."""
    if len(subject.text) <= whole.length:  # no token is shorter than a character
        return
    measured, count = whole.tokenize is not None, estimated_tokens(subject.text)
    if whole.tokenize and not (whole.pieces_are_words and count * FAR_OFF < whole.length):
        count = len(whole.tokenize(subject.text))
    if count > whole.length:
        start = _limit(subject.text, count, whole)
        about = "" if measured else "about (by an estimate: no tokenizer is at hand) "
        yield Hit(start, len(subject.text), f"it has {about}{count} tokens; the text encoder reads {whole.length}")


def _limit(text: str, count: int, whole: Whole) -> int:
    """About the character from which on nothing is read, at the start of a word."""
    near = text.rfind(" ", 0, max(1, len(text) * whole.length // count))
    return near + 1
