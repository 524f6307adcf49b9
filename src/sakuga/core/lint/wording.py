"""Rules about words: style words, male and female as nouns, hedges, talk of the picture instead of what is in it."""

import re
from collections.abc import Callable
from functools import lru_cache

from .rule import HIDDEN, Hit, Hits, Subject, Whole, any_in, word_set

# ---- style words ------------------------------------------------------------------------------------------------------

_STYLES = (
    r"animes?", r"mangas?", r"manhwa", r"cartoons?", r"cartoon(?:ish|y)", r"(?:studio )?ghibli", r"(?:hayao )?miyazaki",
    r"makoto shinkai", r"disney", r"pixar", r"dreamworks", r"ce(?:l|ll|lluloid)[- ]?(?:shad(?:ed|ing)|animat(?:ed|ion)|drawn)",
    r"toon[- ]?shad(?:ed|ing)", r"hand[- ]?(?:drawn|painted|animated)",
    r"(?:2d|3d|cg|computer)[- ](?:animat(?:ed|ion)|render(?:ed|ing)?|art|graphics|generated)", r"cgi", r"2d|two-dimensional",
    r"pixel[- ]?art", r"line[- ]?art(?:work)?", r"vector[- ]?art", r"digital (?:art|painting|illustration|drawing)", r"concept art",
    r"comic[- ](?:book|strip)", r"illustrations?", r"illustrated", r"animations?",
    r"animated(?=\s+(?:films?|movies?|series|features?|shorts?|scenes?|shows?|frames?|sequences?|characters?|"
    r"figures?|stills?|"
    r"(?:style|girl|boy|man|woman|look|aesthetic)s?)\b)",
    r"(?:scene|image|video|picture|shot|clip|everything) is animated",
    r"chibi", r"stop[- ]motion", r"claymation", r"rotoscop(?:ed?|ing)", r"shou?nen", r"sh[oō]u?jo", r"ukiyo-?e",
    r"(?:art|drawing|painting|animation|illustration|visual|graphic|rendering) ?style", r"stylized", r"stylised", r"painterly",
    r"artwork", r"ova(?= (?:style|aesthetic|look|series))", r"donghua", r"manhua", r"webtoons?", r"gainax", r"ufotable",
    r"toei animation", r"looney tunes",
    r"hanna-barbera",
    r"(?:thick|bold|clean|heavy|crisp)(?: (?:black|dark|ink))? (?:outlines|line ?work|lineart)",
    r"flat (?:colou?rs|shading)", r"halftone(?: dots)?", r"speed ?lines", r"photo-?realis(?:tic|m)", r"hyper-?realis(?:tic|m)",
    r"(?:watercolou?r|gouache|oil[- ]paint(?:ing)?|ink[- ]wash|crayon|pastel|woodblock)[- ](?:style|look|aesthetic|texture)",
    r"octane render", r"unreal engine", r"\d0s'? aesthetic",
)  # fmt: skip
# What may be drawn upon, or made of drawings, within the picture itself.
_THINGS = (
    r"(?:posters?|figurines?|figures on|magazines?|books?|volumes?|pages?|covers?|t-?shirts?|shirts?|hoodies?|"
    r"stickers?|keychains?|"
    r"merchandise|conventions?|plush\w*|prints?|mugs?|decals?|logos?|mascots?|dvds?|shops?|stores?|cards?|"
    r"wallpapers?|murals?|signs?|"
    r"panels? (?:on|in|of)|maps?|scrolls?|letters?|diagrams?|charts?|glasses|printers?|clubs?|faces? on|bandages?|"
    r"band-?aids?|lunch ?box\w*|backpacks?|tattoos?|studios?|desks?|cat on|dog on|bear on|rabbit on|film festival|"
    r"(?:on|across|from|in) (?:the |a |an |her |his |their |its |another )?(?:\w+ )?"
    r"(?:page|book|magazine|cover|poster|wall|billboard|television|tv|screen|monitor|phone|mug|t?-?shirt|sign|"
    r"sleeve|lid|"
    r"jacket|bag|box|card|scroll|pillow|curtains?|blanket))\b"
)
_AMONG_THINGS = re.compile(
    r"\b(?:read(?:s|ing)?|watch(?:es|ing)?|hold(?:s|ing)|through|draw(?:s|ing)|sketch(?:es|ing)|collect(?:s|ing)|"
    r"suspended|"
    r"(?:stacks?|piles?|shel(?:f|ves)|posters?|prints?|pictures?|rows?|cop(?:y|ies)|volumes?) of|with(?: \w+)?|"
    r"printed with|decorated with|dressed as|painted|covered in)"
    r" (?:an? |the |some |his |her |old |open |colorful |framed ){0,2}$"
)
_FOLLOWING = (
    r"(?=\s+(?!(?:of|in|on|at|with|and|or|is|are|was|were|by|from|that|which|shows?|depicts?|to|as|where|the|"
    r"an?)\b)[a-z])"
)
_AFTER = re.compile(_FOLLOWING)
_ADJECTIVAL = r"(?:[- ](?:style[ds]?|like|inspired|esque|type))?"


# One of these stands in whatever the words above match.
_STYLE_STEMS = (
    "anim", "manga", "manhwa", "manhua", "donghua", "webtoon", "cartoon", "ghibli", "miyazaki", "shinkai", "disney", "pixar",
    "dreamworks", "gainax", "ufotable", "toei", "looney", "hanna", "shaded", "shading", "drawn", "hand-painted", "hand painted",
    "handpainted", "2d", "3d", "cg", "computer", "dimension", "pixel", "line art", "line-art", "lineart", "line work", "linework",
    "outlines", "flat col", "vector", "digital", "concept", "comic", "illustrat", "chibi", "stop-motion", "stop motion",
    "claymation", "rotoscop", "shounen", "shonen", "shojo", "shoujo", "shōjo", "shōujo", "ukiyo", "style", "styli", "painterly",
    "artwork", "ova ", "halftone", "speed line", "speedline", "realis", "watercolo", "gouache", "oil paint", "oil-paint",
    "ink wash", "ink-wash", "crayon", "pastel", "woodblock", "octane", "unreal", "aesthetic",
)  # fmt: skip


@lru_cache
def _style(extra: tuple[str, ...]) -> re.Pattern[str]:
    words = "|".join((*(re.escape(word.lower()) for word in extra), *_STYLES))
    one = rf"(?:{words}){_ADJECTIVAL}(?!\w)"
    manner = (
        r"(?:,? *\b(?:(?:rendered|drawn|depicted|animated|presented|done|illustrated|painted|shown|captured|all) )?"
        r"(?:in (?:an? |the )?(?:(?!in\b|with\b|of\b)[\w'-]+,? ){0,3}?|with (?:an? |the )(?:[\w'-]+ ){0,3}?)"
        rf"(?:{words})(?:[- ](?:art|inspired|like))?[- ](?:style|aesthetic|look|manner|fashion)s?\b"
        r"(?=\s*(?:[.,;:!?)]|$)|\s+(?:with|and|of|that|as|for|by|on|at|to|which|in)\b))"
    )
    after = (
        r"(?:,? *\b(?:(?:rendered|drawn|animated|done|illustrated|painted) )?"
        r"(?:in the (?:\w+ )?style of|in the manner of|reminiscent of|evoking|typical of|characteristic of|"
        rf"inspired by|as (?:if )?in|like something out of) (?:an? |the |classic |old |\d0s )*(?:{words})(?:'s)?"
        r"(?: (?:films?|movies?|works?|series|art|style|studio))*(?!\w))"
    )
    return re.compile(
        rf"(?P<manner>{manner}|{after})|(?<![\w-])(?:\d0s |'\d0s |retro |vintage |classic )?(?P<word>{one})"
    )


_NOUN = re.compile(r"(?:shading|animations?|illustrations?|art|artwork|painting|graphics|rendering|style)$")
_AT_THING = re.compile(r"[- ]*(?:\w+ )?" + _THINGS)


def style_words(subject: Subject, whole: Whole) -> Hits:
    """Words that name the style: what is said is not learnt as part of what the trigger calls."""
    text = subject.plain
    if not any_in(text, _STYLE_STEMS) and not any_in(text, (word.lower() for word in whole.words)):
        return
    for found in _style(whole.words).finditer(text):
        if found["manner"]:
            start = found.start() + (0 if found[0].startswith(",") else len(found[0]) - len(found[0].lstrip()))
            end = found.end()
            named = _style(whole.words).search(found[0].lstrip(" ,").split(" ", 1)[-1])
            if named is None and not whole.words:
                continue
            yield Hit(start, end, "it names the style, which the trigger is to stand for", "")
            continue
        end = found.start() + len(found[0].rstrip())
        if _AT_THING.match(text, end) or _AMONG_THINGS.search(text[max(0, found.start() - 40) : found.start()]):
            continue
        adjective = _AFTER.match(text, end) and not _NOUN.search(found["word"])
        yield Hit(
            found.start(), end, "it names the style, which the trigger is to stand for", "" if adjective else None
        )


# ---- male and female ----------------------------------------------------------------------------------------------------

_SEX = re.compile(r"(?<![\w-])(females|female|males|male)(['’]s?)?(?![\w-])")
_MAN = {"male": "man", "males": "men", "female": "woman", "females": "women"}
_NEXT = re.compile(r"( *)([^\w ]?)\s*([\w'’-]*)(?: +([\w'’-]*))?")
_BEFORE = re.compile(r"([\w'’-]+)\s*$")
_FUNCTION = word_set(
    "in on at with who whom whose that which from to near by beside behind under over inside outside of as while is "
    "are was were has have had wearing against between next across along toward towards into onto through without "
    "beneath above below before after during around amid among up down then both looks does can will"
)
_VERBS = word_set(
    "stand sit walk run look hold wear talk face lie lean smile laugh raise point reach turn gaze stare speak shout "
    "hug kiss dance play sing kneel crouch jump fall sleep eat drink read write carry push pull throw catch ride "
    "drive watch wave nod shake step climb enter leave appear grab grip clutch lift open close cross fold rest bow "
    "fight punch kick cry weep grin frown listen approach follow chase embrace pose rush tilt lower lift put place "
    "wipe scratch peer glance blink yawn gesture swim fly drop"
)
_LINKS = word_set("is are was were be being been remains both")
_BEASTS = re.compile(
    r"\b(?:lion|tiger|bird|duck|deer|dog|wolf|cat|horse|bear|fish|eagle|hawk|owl|peacock|elephant|gorilla|monkey|"
    r"penguin|whale|"
    r"spider|insect|mantis|beetle|fox|rabbit|swan|goose|hen|rooster|pigeon|sparrow|cub|chick|foal|flock|herd|pride|"
    r"nest|stag|doe|"
    r"seal|turtle|frog|butterfl(?:y|ie)|moth|cattle|goat|sheep|leopard|panda|crow|raven|calf|hippo\w*|baboon|ape|"
    r"shark)e?s?\b"
)
_PEOPLE = re.compile(
    r"\b(?:m[ae]n|wom[ae]n|boys?|girls?|persons?|people|shirt|suit|dress|hair|wear(?:s|ing)|jacket|coat|uniform)\b"
)


_PAIRED = re.compile(r"male and (?:an?|one|another)$")
_ONE = re.compile(r"\b(?:an?|one|another|each|every|this)(?: [\w'’-]+){0,3} $")


def _is_verb(word: str) -> bool:
    stem = word.removesuffix("s")
    return word in _VERBS or stem in _VERBS or stem.removesuffix("e") in _VERBS or word.replace("ies", "y") in _VERBS


def _stands_alone(text: str, end: int, before: str, singular: bool) -> bool:
    """Whether `male` or `female`, ending at `end`, is a noun: no noun follows that it could belong to."""
    follows = _NEXT.match(text, end)
    assert follows
    _, mark, word, second = follows.groups()
    if _PAIRED.search(text[:end].rpartition(" ")[0]):
        return True
    if mark or not word:
        return before not in _LINKS and mark not in ("-", "/")
    if word in ("and", "or"):
        other = re.compile(r" *(?:and|or) +(?:female|male)(?![\w-])").match(text, end)
        if other:
            return _stands_alone(text, other.end(), before, singular)
        return before not in _LINKS
    if word in _FUNCTION:
        return before not in _LINKS
    if word.endswith("ing"):
        leads = second or ""
        return not leads or leads in _FUNCTION or leads.endswith("ly") or leads in _DETERMINERS
    if word.endswith("ed") or word in ("clad", "seen", "shown"):
        return (second or "") in _FUNCTION
    if word.endswith("ly"):
        return bool(second) and (_is_verb(second) or second.endswith("ing"))
    if singular and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return True  # `a male feeds`: behind `a` no plural can follow
    return _is_verb(word) and not (second and _is_verb(second))


_DETERMINERS = word_set("the a an his her their its another some one two down up out back forward away intently")


def _of_beasts(text: str, at: int) -> bool:
    """Whether the sentence of the place `at`, or the one before, has named an animal, and no person."""
    sentence = text.rfind(".", 0, at) + 1
    before = text.rfind(".", 0, max(0, sentence - 1)) + 1
    end = text.find(".", at)
    around = text[before : end if end >= 0 else None]
    return bool(_BEASTS.search(text, before, at)) and not _PEOPLE.search(around)


def male_female(subject: Subject, whole: Whole) -> Hits:
    """`male` and `female` as nouns: people prompt with man and woman. (A male lion, a female voice: adjectives.)"""
    text = subject.plain
    if "male" not in text:
        return
    for found in _SEX.finditer(text):
        word, owner = found[1], found[2] or ""
        if _of_beasts(text, found.start()):
            continue
        left = text[max(0, found.start() - 40) : found.start()]
        before, singular = _BEFORE.search(left), bool(_ONE.search(left))
        if word.endswith("s") or owner or _stands_alone(text, found.end(), before[1] if before else "", singular):
            better = _MAN[word]
            better = better.capitalize() if subject.text[found.start()].isupper() else better
            yield Hit(found.start(1), found.end(1), f"a prompt says '{_MAN[word]}'; '{word}' is an adjective", better)


# ---- hedges -------------------------------------------------------------------------------------------------------------

_FEELING = (
    r"(?:(?:very|quite|slightly|somewhat|rather|a bit|deeply|visibly|almost) )?"
    r"(?:upset|sad|happy|angry|calm|serious|anxious|nervous|content|pensive|lost|shy|confident|sleepy|weary|tense|"
    r"unsure|uneasy|"
    r"ready|afraid|asleep|unconscious|injured|old|young|empty|abandoned|engaged|"
    r"(?:surpris|worri|tir|excit|confus|relax|bor|frighten|scar|shock|annoy|embarrass|concern|distress|determin|"
    r"focus|exhaust|"
    r"troubl|concentrat|irritat|agitat|startl|amus|disappoint|interest|frustrat)ed|(?:thought|joy|cheer|peace|fear|"
    r"play)ful|"
    r"(?:curi|furi|seri|nerv|anxi)ous)\b"
)
_NOT_A_VERB = (
    r"(?!be\b|the\b|an?\b|her\b|his\b|him\b|their\b|them\b|its\b|it\b|us\b|me\b|my\b|left\b|right\b|viewers?\b|one\b)"
)

Fix = Callable[[re.Match[str]], str | None]


def third_person(verb: str) -> str:
    """carry -> carries, watch -> watches, run -> runs."""
    if re.search(r"(?:s|x|z|ch|sh|o)$", verb):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if re.search(r"[^aeiou]y$", verb) else {"have": "has"}.get(verb, f"{verb}s")


def _nothing(found: re.Match[str]) -> str:
    return ""


def _none(found: re.Match[str]) -> None:
    return None


def _a(found: re.Match[str]) -> str:
    return "a"


def _being(found: re.Match[str]) -> str:
    return "is" if found["s"] else "are"


def _verb(found: re.Match[str]) -> str:
    return third_person(found["verb"]) if found["s"] else found["verb"]


# What must stand in a caption for the pattern to be asked at all; the pattern; what should stand there. The longer first.
_HEDGES: tuple[tuple[str, str, Fix], ...] = (
    (
        "what",
        r"what (?:looks like|looks to be|(?:appears|seems) to be|(?:could|might|may)(?: well)? be|"
        r"is (?:likely|probably|possibly)|(?:i|we) (?:think|believe|assume) (?:is|to be))",
        _nothing,
    ),
    ("perhaps maybe possibly probably", r"(?:or|and) (?:perhaps|maybe|possibly|probably)", _none),
    (
        "either",
        r"either (?!(?:sides?|way|ends?|hand|direction|of|arm|shoulder|flank|edge|wall|corner|bank|cheek|leg|wrist|"
        r"foot|ear|"
        r"eye|wing)\b)(?:[\w'’-]+,? ){1,7}?or\b",
        _none,
    ),
    ("to be", r"(?:seem|appear|look)(?P<s>s?) to be(?=\s+\w)", _being),
    ("ed to", r"(?:seem|appear)ed to (?:be|have)\b", _none),
    ("seem appear", rf"(?:seem|appear)(?P<s>s?) to {_NOT_A_VERB}(?P<verb>[a-z]{{2,}})\b", _verb),
    (
        "seem appear look",
        r"(?:seem|appear|look)s? (?:as (?:if|though)|like)\b(?= (?:he|she|it|they|the|there|someone|a|an)\b)",
        _none,
    ),
    ("seem", r"seem(?P<s>s?)(?=\s+[a-z])(?! to\b)", _being),
    ("appear", rf"appear(?P<s>s?)(?= {_FEELING})", _being),
    (
        "appearing seeming",
        r"(?:appearing|seeming)(?: to be)?(?= [a-z])(?! (?:in|on|at|from|behind|above|over|out|under|through|"
        r"between|beside|"
        r"near|as|within|again|suddenly|beneath|around)\b)",
        _nothing,
    ),
    (
        "seemingly apparently presumably supposedly allegedly conceivably arguably",
        r"(?:seemingly|apparently|presumably|supposedly|allegedly|conceivably|arguably)",
        _nothing,
    ),
    (
        "possibly perhaps maybe probably potentially",
        r"(?:possibly|perhaps|maybe|probably|potentially)(?: (?:a sign of|because|due to))?",
        _nothing,
    ),
    ("likely", r"(?:(?:most|very|quite) )?likely(?! (?:story|candidate))", _nothing),
    (
        "might may could",
        r"(?:might|may|could)(?: (?:also|well|possibly|perhaps|just|even))* (?:be|have|belong|represent|indicate|"
        r"suggest|"
        r"symboli[sz]e|refer|come|contain|serve)\b(?! (?:seen|heard|glimpsed|spotted|felt))",
        _none,
    ),
    ("might", r"(?<!his )(?<!her )(?<!all )(?<!the )(?<!their )might\b(?! and\b)", _none),
    ("some", r"some (?:kind|sort|type|form) of", _a),
    (
        "hard difficult impossible",
        r"(?:hard|difficult|impossible) to (?:tell|say|determine|discern|make out|identify|know)",
        _none,
    ),
    (
        "clear certain obvious ambiguous",
        r"(?:it is|it's|it’s|is|are|remains?) (?:not (?:entirely |quite |fully |completely )?(?:clear|certain|"
        r"obvious)|unclear|"
        r"uncertain|ambiguous)(?: (?:if|whether|what|who|why|how|where))?",
        _none,
    ),
    ("clear certain sure", r"(?:unclear|uncertain|not clear|not sure|unsure) (?:if|whether|what|who|why|how)", _none),
    ("cannot", r"cannot be (?:determined|identified|confirmed|seen clearly)", _none),
    ("think believe guess assume suspect suppose", r"i (?:think|believe|guess|assume|suspect|suppose)", _none),
    (
        "suggest indicat impl hint",
        r"(?:suggest(?:s|ing)?|indicat(?:es?|ing)|impl(?:y|ies|ying)|hint(?:s|ing)?) that",
        _none,
    ),
    (
        "something someone somewhere similar",
        r"or (?:something|someone|somewhere) (?:similar|like (?:it|that|this)|else)|or similar(?= |\.|,|$)",
        _none,
    ),
    (
        "interpreted guess could might sure certain",
        r"(?:could|can) be interpreted as|one (?:could|might) (?:say|assume|think)|if i had to guess|"
        r"i(?:'m| am) (?:not )?(?:sure|certain)",
        _none,
    ),
)
_HEDGE = tuple(
    (tuple(stems.split()), re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])"), fix) for stems, pattern, fix in _HEDGES
)


def hedges(subject: Subject, whole: Whole) -> Hits:
    """What the captioner was not sure of: a prompt states things."""
    text = subject.plain
    taken: list[tuple[int, int]] = []
    for stems, pattern, fix in _HEDGE:
        if not any_in(text, stems):
            continue
        for found in pattern.finditer(text):
            start, end = found.span()
            if not any(start < b and a < end for a, b in taken):
                taken.append((start, end))
                better = fix(found)
                if better and subject.text[start].isupper():
                    better = better.capitalize()
                yield Hit(start, end, f"'{subject.text[start:end]}' is a guess; say what is there", better)


# ---- talk of the picture ------------------------------------------------------------------------------------------------

_MEDIUM = (
    r"(?:(?:first|second|opening|still|video|animated|short|film|movie|anime|given|provided|current|following) )?"
    r"(?:images?|pictures?|photos?|photographs?|videos?|clips?|footage|frames?|scenes?|screenshots?|screen ?caps?|"
    r"illustrations?|drawings?|"
    r"animations?|artworks?|sequences?|gifs?|snapshots?|stills?|visuals?|captions?|descriptions?|film|movie)"
    r"(?: (?:clip|sequence|frame|footage))?"
)
_TELLS = (
    r"(?:shows?|depicts?|features?|captures?|displays?|presents?|portrays?|illustrates?|contains?|showcases?|"
    r"includes?|consists of|"
    r"(?:begins|opens|starts|ends) (?:with|on)|focus(?:es)? on|(?:primarily |mainly )?(?:is|are) (?:of|about)|"
    r"reveals?|describes?|"
    r"(?:is|are) (?:showing|depicting|featuring|displaying|(?:rendered|set|shown|presented) (?:in|against|within|from))|"
    r"takes place|unfolds)"
)
_SEE = (
    r"(?:(?:we|you|one|the viewer|viewers) (?:can |could |may )?(?:clearly |also |then |first )?(?:see|observe|"
    r"notice|view|witness)s?(?: that)?,?)"
)
_LEADS = (
    rf"(?:here,? )?(?:in|within|throughout|at the start of|at the beginning of) (?:this|the|these)(?: \w+)? ?{_MEDIUM}"
    rf"(?:,|(?=\s+(?:we|you|there|an?|the|two|three|several|is|are|shows)\b))(?: +{_SEE})?",
    rf"(?:this|the|these)(?: (?:\w+))? {_MEDIUM}(?: (?:\w+ly|then|also))? {_TELLS}(?: (?:us|how|that))?",
    rf"(?:here,? )?{_SEE}",
    r"what (?:we|you|one|the viewer) (?:can )?(?:sees?|have)(?: here)? (?:is|are)",
    r"an? (?:(?!framed|mirror|faded|torn|crumpled|old|wedding|family|school|group)\w+ ){0,2}?(?:image|picture|"
    r"photo|photograph|video|clip|screenshot|illustration|drawing|snapshot|gif|animation|screen ?cap) "
    r"(?:of|showing|depicting|that (?:shows|depicts)|featuring|in which|capturing|where|portraying|from)",
    r"(?:depicted|pictured|shown|seen|featured)(?: here)?(?: in (?:this|the) \w+)? (?:is|are)",
    r"(?:sure|certainly|of course|okay|absolutely|alright)[!,.]* *(?:here(?:'s|’s| is| are)[^:.!]*[:.!])?",
    r"here(?:'s|’s| is) (?:an?|the|your|my) [^:.]*?(?:caption|description|prompt|summary)[^:.]*[:.]",
    r"(?:caption|description|prompt|answer|response|output|scene description|image description|video description) *:",
    rf"this is (?:an?|the) (?:\w+ )?{_MEDIUM} (?:of|showing|depicting|that shows)",
    r"(?:let me describe|i see|i can see|i notice|the following is)",
)
_LEAD = re.compile(
    rf"(?:^[{HIDDEN}\s.,:;*-]*|[.!?:][\"”’')]?\s+)(?P<lead>(?:{'|'.join(_LEADS)})(?!\w))\s*",
)
_NOT_LEAD = re.compile(
    r"(?:the|an?) (?:picture|photo|photograph|drawing|painting|video|clip|illustration) (?:on|in) the (?:wall|desk)"
)


def lead_ins(subject: Subject, whole: Whole) -> Hits:
    """`This image shows`: talk of the picture before what is in it. Nobody prompts so."""
    for found in _LEAD.finditer(subject.plain):
        start, end = found.span("lead")
        if not _NOT_LEAD.match(subject.plain, start):
            yield Hit(start, end, "it talks of the picture; begin with what is in it", "")


_FRAME = (
    r"(?:in|into|out of|within|inside|outside|from|enters?|entering|leaves?|leaving|exits?|exiting|fills?|filling|"
    r"across|off|dominat\w+|"
    r"through) (?:the |of )?(?:entire |whole |video |opening |first |last |next )?frame"
)
_PART = (
    r"(?:cent(?:er|re)|middle|left|right|top|bottom|edges?|corners?|sides?|half|third|most|portion|part|foreground|"
    r"background|rest|border)"
)
_MEDIA_WORDS = re.compile(
    r"(?<![\w-])(?:"
    rf"{_FRAME}(?!\w)(?! (?:of|around|on|for)\b)"
    rf"|{_PART} of (?:the |this )?(?:frame|image|picture|photo|screen ?shot|video|shot)(?!\w)(?! (?:of|on|store|"
    rf"game|frame)\b)"
    r"|(?:this|the|entire|whole|each|every|final|last|first|next) (?:still |video |opening )?(?:image|screenshot|"
    r"screen ?cap|screen ?grab|footage|video(?: clip)?|"
    r"frames?(?= (?:shows?|is|are|captures?|depicts?|cuts?|fades?|then|changes?)\b))(?!\w)"
    r"(?! (?:of|on|in the mirror|game|camera|store|tape|call|screen|player|monitor|recorder|cassette|arcade|rental|"
    r"shop|display|wall|conference)\b)"
    r"|(?:an? |this |the )?(?:screenshots?|screen ?caps?|screen ?grabs?|freeze[- ]?frame|movie still|film still|"
    r"video still|still (?:image|frame))(?!\w)"
    r"|(?:a |the )?still from (?:an?|the)\b"
    r"|this (?:picture|photo|photograph|clip)(?!\w)"
    r"|the (?:picture|photo|photograph|clip)(?= (?:is|was|has|ends|begins|starts|continues|itself|quality|"
    r"resolution|appears|captures|shows)\b)(?! (?:is|was) (?:framed|pinned|in her|in his|hung))"
    r"|(?:throughout|during|over the course of|(?:at|by|towards?) the (?:start|beginning|middle|end) of) (?:the|this) (?:clip|"
    r"video|footage|sequence)(?!\w)(?! (?:game|call|shop|store|conference|screen|wall|art|player)\b)"
    r"|as (?:the|this) (?:clip|video|footage|sequence) (?:begins|starts|opens|ends|continues|progresses|goes on|plays|closes)\b"
    r"|(?:image|picture|video) (?:quality|resolution)|(?:low|high)[- ]resolution|(?:aspect ratio)"
    r")"
)  # fmt: skip
_MEDIA_STEMS = (
    "frame", "image", "picture", "photo", "video", "footage", "clip", "sequence", "screen", "still", "the shot", "this shot",
    "resolution", "aspect ratio",
)  # fmt: skip
# `the caption under the photograph is torn off`: the photograph is a thing in the picture.
_NOT_MEDIA = re.compile(r"\b(?:under|below|beside|behind|on|in|over|above|with|near|against|from|and|to|by)\s+$")
_PRINT = re.compile(r"the (?:picture|photo|photograph)$")


def medium_words(subject: Subject, whole: Whole) -> Hits:
    """Words about the medium: the frame, the image, a screenshot. They are no part of what is to be seen."""
    places = list(_MEDIA_WORDS.finditer(subject.plain)) if any_in(subject.plain, _MEDIA_STEMS) else []
    told = [(hit.start, hit.end) for rule in (lead_ins, overlay_text) for hit in rule(subject, whole)] if places else []
    for found in places:
        start, end = found.span()
        if _PRINT.match(found[0]) and _NOT_MEDIA.search(subject.plain, max(0, start - 16), start):
            continue
        if not any(start < b and a < end for a, b in told):
            yield Hit(start, end, f"'{subject.text[start:end]}' is about the picture, not about what is in it")


_EDGE = (
    r"(?:top|bottom|lower|upper|corners?|(?:lower|upper|top|bottom)[- ](?:left|right|edge|third|part|"
    r"corner)(?: (?:corner|edge))?)"
)
_LETTERS = (
    r"(?:texts?|words?|lyrics|lettering|titles?|captions?|logos?|subtitles?|writing|characters|letters|credits?|"
    r"signature|numbers?|"
    r"timestamp|banner|symbol|emblem|name)"
)
# What water marks: `green watermarks on the plaster`.
_WET = (
    r"(?:walls?|plaster|ceilings?|wallpaper|woods?|tables?|tabletop|stones?|bricks?|banknotes?|leather|glass|pillars?|"
    r"piers?|hull)\b"
)
_ON_WET = rf"[^.,;]{{0,30}}?\b(?:on|down|across|over|along|in|into|of) (?:the |an? |his |her )?(?:\w+ ){{0,2}}?{_WET}"
_COMES = r"(?:fades?|fading|flash(?:es)?|scrolls?|scrolling|pops?|slides?|dissolves?|appears?|appearing)"
_MARKS = re.compile(
    r"(?<![\w-])(?:"
    rf"water ?-?mark(?:s|ed)?(?!{_ON_WET})|"
    r"(?:closed |english |white |yellow |burned-in |hardcoded |japanese |chinese |korean |"
    r"french |foreign )?"
    r"(?:subtitles?|subtitled|subtitling|subs)(?! of (?:the|a|his|her) (?:book|novel))"
    r"|closed caption\w*|timestamps?|time ?codes?|(?:opening|closing|end|ending|production|staff|rolling|film|"
    r"cast) credits|credits? (?:roll|scroll|appear|sequence|text)\w*"
    r"|(?:title|end) cards?|(?:title|logo|graphics?|caption|lyrics?) overlays?|text overlays?|overlaid (?:text|"
    r"words|letters|logo|title)|on-?screen (?:text|captions?|graphics|words|title)"
    rf"|{_LETTERS}(?: \w+){{0,3}}? (?:overlaid|superimposed)|superimposed (?:\w+ )?{_LETTERS}"
    r"|(?:station|channel|network|broadcaster|tv station|studio|company|copyright|production company)(?:'s|"
    r"’s)? (?:logo|mark|bug|notice|text|name)"
    rf"|{_LETTERS}(?! (?:on|printed on|painted on|embroidered) (?:a|an|the|his|her|its|their) (?!bottom|top|lower|"
    rf"upper|screen))(?: [\w·\"'-]+){{0,4}}? "
    rf"(?:at|in|on|along|across|near|towards?|over) (?:the |its )(?:very |far )?{_EDGE}\b(?: of (?:the )?(?:frame|"
    rf"image|screen|picture|video|shot))?"
    r"(?! of (?!(?:the )?(?:frame|image|screen|picture|video|shot)\b)| (?:shel\w+|step|button|drawer|deck|floor|page))"
    rf"|{_LETTERS}(?: [\w·\"'-]+){{0,4}}? (?:on|across|over|onto) (?:the )?(?:screen|image|picture|frame|"
    rf"video)(?! of)(?! door)\b"
    rf"|{_EDGE}(?: of the (?:frame|image|screen|picture|video|shot))? (?:reads|bears|contains|shows|has|displays|"
    rf"carries)(?: \w+){{0,3}} {_LETTERS}"
    rf"|(?:the |a )?{_LETTERS}(?: [\w·\"'-]+){{0,5}}? {_COMES} (?:in\b|up\b|out\b|over (?:the )?(?:scene|shot|him|her|it|them)|"
    rf"in (?:large|white|yellow|big|bold|red|black|small))"
    r"|(?:copyright|©)(?: \d{4})?|(?:a|the) (?:video|movie|episode|film|series)(?:'s|’s) title|"
    r"title of the (?:episode|show|series|film|video)"
    r"|episode (?:title|number)"
    r")(?!\w)"
)  # fmt: skip
_MARK_STEMS = (
    "text", "word", "lyric", "letter", "title", "caption", "logo", "writing", "character", "credit", "signature", "number", "stamp",
    "banner", "symbol", "emblem", "name", "mark", "subs", "code", "card", "overlay", "superimpos", "graphic", "copyright", "©",
    "episode",    "notice", "bug",
)  # fmt: skip
_IN_THE_SCENE = re.compile(
    r"\b(?:computer|monitor|phone|television|tv|laptop|tablet|cinema|arcade|terminal|game|smartphone|display|radar|"
    r"console)(?:'s|’s)?\s*$"
)


def overlay_text(subject: Subject, whole: Whole) -> Hits:
    """A watermark, subtitles, credits: what is not to be learnt stands in the words, so perhaps in the picture."""
    text = subject.plain
    if not any_in(text, _MARK_STEMS):
        return
    for found in _MARKS.finditer(text):
        start, end = found.span()
        if found[0].endswith("screen") and _IN_THE_SCENE.search(found[0].removesuffix("screen")):
            continue
        yield Hit(
            start, end, f"'{subject.text[start:end]}' stands over the picture; crop or inpaint it, or leave it unsaid"
        )
