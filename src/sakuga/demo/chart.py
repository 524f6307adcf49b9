"""The loss curve as an SVG: every step faint, their running mean, and the validation loss as marks."""

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, BOTTOM = 760, 260, 46, 28
SMOOTH = 0.95  # of the running mean


def loss_chart(losses: Sequence[float], validation: Mapping[int, float]) -> str:
    """An SVG that scales with its place and takes its colours from the page."""
    if not losses:
        return ""
    shown = sorted(losses)
    top = max([shown[int(len(shown) * 0.99)], *validation.values()]) * 1.05
    steps = len(losses)

    def point(step: float, loss: float) -> str:
        x = LEFT + (WIDTH - LEFT - 8) * step / steps
        y = 8 + (HEIGHT - BOTTOM - 8) * (1 - min(loss, top) / top)
        return f"{x:.1f},{y:.1f}"

    def line(values: Sequence[tuple[float, float]], name: str) -> str:
        return f'<polyline class="{name}" points="{" ".join(point(*value) for value in values)}"/>'

    marks = ""
    for step, loss in validation.items():
        x, y = point(step, loss).split(",")
        marks += f'<circle class="validation" cx="{x}" cy="{y}" r="4"><title>step {step}: {loss:.4f}</title></circle>'
    parts = [*_axes(top, steps), line(list(enumerate(losses, 1)), "each"), line(_smoothed(losses), "mean")]
    parts += [line(list(validation.items()), "validation"), marks]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="loss by step">{"".join(parts)}</svg>'


def _axes(top: float, steps: int) -> list[str]:
    floor = HEIGHT - BOTTOM
    parts = [f'<line class="axis" x1="{LEFT}" y1="{floor}" x2="{WIDTH - 8}" y2="{floor}"/>']
    for part in (0, 0.5, 1):
        y = 8 + (floor - 8) * (1 - part)
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{top * part:.2f}</text>')
        x = LEFT + (WIDTH - LEFT - 8) * part
        anchor = "end" if part == 1 else "middle"
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{round(steps * part)}</text>')
    return parts


def _smoothed(losses: Sequence[float]) -> list[tuple[float, float]]:
    """The exponential mean of the losses so far, without its bias towards the start."""
    mean, weight, out = 0.0, 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = SMOOTH * mean + (1 - SMOOTH) * loss
        weight = SMOOTH * weight + (1 - SMOOTH)
        out.append((float(step), mean / weight))
    return out
