"""Captions that contradict what was measured. The thresholds are generous: only what cannot be so is told."""

import re

from .rule import Hit, Hits, Subject, Whole

MOVES = 0.10  # widths per second: in two seconds a fifth of the picture has gone by
STANDS = 0.004  # widths per second: less than a pixel a frame at 240 pixels
DARK = 0.12  # mean luma; a room at night has 0.15 to 0.3
BRIGHT = 0.70  # mean luma; an even day has 0.4 to 0.65

_STATIC = re.compile(
    r"(?:static|locked[- ]?(?:off|down)|stationary|fixed|motionless|unmoving|immobile|steady and still|"
    r"still)[- ](?:\w+ ){0,2}?(?:shot|camera|frame|framing|view|angle|perspective|viewpoint)\b"
    r"|\b(?:camera|shot|frame|framing|view|viewpoint) (?:angle )?(?:is|remains|stays|holds|keeps|stands|"
    r"sits)(?: \w+)?(?: a)? (?:static|still|fixed|stationary|motionless|steady|locked|unmoving|immobile|"
    r"in place)\b"
    r"|\b(?:no|without(?: any)?) camera (?:movement|motion|move)s?|camera (?:does not|doesn['’]t|never) moves?|"
    r"static shot|tripod shot|camera holds (?:still|steady|on)|on a tripod"
)
_MOVING = re.compile(
    r"(?:(?:slow|quick|fast|smooth|gentle|steady|cinematic|horizontal|vertical|whip|leftward|rightward|upward|"
    r"downward|slight|rapid|wide)(?:ly)?,? )+(?:pan|tilt|zoom|dolly|push-in|pull-back|tracking|pullback)\b"
    r"|\b(?:camera|shot|view)(?: \w+ly| then| also| starts to| begins to)* (?:pans?|panning|tilts?|tilting|zooms?|"
    r"zooming|dollies|tracks?|tracking|trucks|cranes|orbits?|circles?|rotates?|pushes|pulls|glides?|sweeps?|moves?|"
    r"moving|follows?|following|travels?|drifts?|rises?|descends|swoops|rotating|orbiting|gliding)\b"
    r"|\b(?:pan(?:ning)? (?:shot|left|right|up|down|across|from|over|to the)|pans (?:left|right|up|down|across|"
    r"over|slowly|to)|tracking shot|dolly (?:shot|in|out|zoom)|zooms? (?:in|out)|zooming (?:in|out)|"
    r"tilt(?:s|ing)? (?:up|down) (?:to|from|over|along|toward)\w*|crane shot|orbit(?:ing)? shot|arc shot|push(?:es|"
    r"-|ing )in (?:on|to|toward)|whip pan|camera (?:movement|motion|move)s?|"
    r"hand-?held(?=(?: [\w-]+){0,2} (?:camera\w*|shots?|footage|movement|motion|feel|style|work|look)\b|\s*(?:[.,;:!)]|$)))\b"
)
_NOT_MOVING = re.compile(
    r"\b(?:no|without(?: any)?|little|minimal|doesn['’]t|does not|never|not|frying|sauce|hot|cooking|iron|steel|"
    r"zero|absence of|lacks?|as the) (?:\w+ )?$"
)
_LIGHT = re.compile(
    r"\b(?:bright(?:ly)?[- ](?:lit|daylight|sunlight|sunshine|sunny|midday|noon|morning|day|blue sky|sky|afternoon|"
    r"sun)|sun-?drenched|sun-?lit|broad daylight|full daylight|blazing sun\w*|"
    r"brilliant (?:sun\w*|daylight)|harsh (?:sun\w*|daylight)|glaring (?:sun\w*|light)|high[- ]key|"
    r"flooded with (?:sun|day)?light|bathed in (?:bright |brilliant )?(?:sun|day)light|bright,? (?:airy|white|"
    r"clear|cheerful|open|sunny)|"
    r"bright (?:and \w+ )?(?:scene|room|interior|lighting|light|summer|snow\w*)|sunny (?:day|afternoon|morning|"
    r"street|beach|meadow|field)|well[- ]lit)\b"
)
_DARKNESS = re.compile(
    r"\b(?:pitch[- ](?:dark|black)|complete darkness|total darkness|near(?:-| )(?:total )?darkness|dark (?:night|"
    r"room|alley|scene|interior|cave|cellar|corridor|street|forest|hallway)|very dark|dim(?:ly)?[- ]lit|"
    r"dim (?:light|lighting|room|interior)|"
    r"low[- ]key|shrouded in (?:darkness|shadow)|darkened|moonless|dead of night|deep shadows? (?:fills?|covers?|"
    r"engulfs?)|night sky|at night|midnight|in (?:the )?dark(?:ness)?|candlelit|moonlit|unlit)\b"
)
_INSIDE = re.compile(
    r"\b(?:screen|poster|photo\w*|painting|window|television|tv|lamp|through the|from the)\b[^.]{0,30}$"
)


def contradiction(subject: Subject, whole: Whole) -> Hits:
    """Camera or light, said otherwise than it was measured."""
    yield from _camera(subject)
    yield from _brightness(subject)


def _camera(subject: Subject) -> Hits:
    still = subject.kind == "still"
    if subject.camera is None and not still:
        return
    camera = 0.0 if still else subject.camera or 0.0
    if camera >= MOVES:
        for found in _STATIC.finditer(subject.plain):
            yield Hit(*found.span(), f"the picture travels {camera:.0%} of its width a second")
    elif camera <= STANDS:
        why = "a still has no movement" if still else f"the picture stands still ({camera:.1%} of its width a second)"
        for found in _MOVING.finditer(subject.plain):
            if not _NOT_MOVING.search(subject.plain[max(0, found.start() - 24) : found.start()]):
                yield Hit(*found.span(), why)


def _brightness(subject: Subject) -> Hits:
    value = subject.brightness
    if value is None or DARK < value < BRIGHT:
        return
    pattern, how = (_LIGHT, "dark") if value <= DARK else (_DARKNESS, "bright")
    for found in pattern.finditer(subject.plain):
        if not _INSIDE.search(subject.plain[max(0, found.start() - 50) : found.start()]):
            yield Hit(*found.span(), f"the shot is {how} (mean brightness {value:.0%})")
