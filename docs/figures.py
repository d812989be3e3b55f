"""Draw one SVG figure per system, with text in the system font.

python docs/figures.py OUT
"""

import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

INK, LINE, PAPER = "#1f2933", "#52606d", "#ffffff"
BLUE, ORANGE, GREEN, GRAY = "#cfe3f7", "#fde2c4", "#d4edd5", "#e8ecf0"


class Figure:
    """Boxes, arrows and text of one SVG.

    Args:
        width (int): Width.
        height (int): Height.
        title (str): What a screen reader says.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.size, self.title = (width, height), title
        self.parts: list[str] = []

    def text(self, x: float, y: float, text: str, size: int = 14, anchor: str = "middle") -> None:
        """Write lines, of which the first is at ``y``."""
        for number, line in enumerate(text.split("\n")):
            self.parts.append(
                f'<text x="{x:g}" y="{y + number * size * 1.25:g}" font-size="{size}" '
                f'text-anchor="{anchor}" fill="{INK}">{escape(line)}</text>'
            )

    def box(self, x: float, y: float, w: float, h: float, text: str = "", fill: str = BLUE) -> None:
        """Draw a box with centered text."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6" fill="{fill}" '
            f'stroke="{LINE}"/>'
        )
        if text:
            lines = text.count("\n")
            self.text(x + w / 2, y + h / 2 + 5 - lines * 8.75, text)

    def circle(self, x: float, y: float, text: str, radius: float = 11, fill: str = PAPER) -> None:
        """Draw a circle with centered text."""
        self.parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{fill}" stroke="{LINE}"/>'
        )
        self.text(x, y + 5, text)

    def arrow(self, *points: tuple[float, float], dashed: bool = False, head: bool = True) -> None:
        """Draw a line through points, with a head at its end."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        style = ' stroke-dasharray="5 4"' if dashed else ""
        end = ' marker-end="url(#head)"' if head else ""
        self.parts.append(
            f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="1.5"{style}{end}/>'
        )

    def grid(
        self, x: float, y: float, n: int, cell: float, fill: Callable[[int, int], str]
    ) -> None:
        """Draw n x n cells."""
        for row in range(n):
            for column in range(n):
                self.parts.append(
                    f'<rect x="{x + column * cell:g}" y="{y + row * cell:g}" width="{cell:g}" '
                    f'height="{cell:g}" fill="{fill(row, column)}" stroke="{LINE}" '
                    'stroke-width="0.6"/>'
                )

    def svg(self) -> str:
        """The file."""
        width, height = self.size
        marker = (
            '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/></marker>'
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-family="system-ui, sans-serif">'
            f"<title>{escape(self.title)}</title><defs>{marker}</defs>"
            f'<rect width="{width}" height="{height}" rx="10" fill="{PAPER}"/>'
            + "".join(self.parts)
            + "</svg>\n"
        )


def dwnet() -> Figure:
    """Draw the three depth-wise convolutions that replace window attention."""
    fig = Figure(760, 330, "DWNet: depth-wise convolution instead of window attention")
    kinds = (
        ("static", "one learned kernel\nper channel", lambda r, c: BLUE),
        ("dynamic", "kernels predicted\nfrom the image mean", lambda r, c: ORANGE),
        (
            "inhomogeneous",
            "one kernel per position,\npredicted from its feature",
            lambda r, c: (BLUE, ORANGE, GREEN)[(r * 2 + c) % 3],
        ),
    )
    for number, (name, note, fill) in enumerate(kinds):
        left = 30 + number * 245
        fig.text(left + 105, 34, name, 17)
        fig.grid(left, 60, 7, 16, lambda r, c: ORANGE if 2 <= r <= 4 and 2 <= c <= 4 else GRAY)
        fig.grid(left + 156, 92, 3, 18, fill)
        fig.arrow((left + 152, 119), (left + 84, 119))
        fig.text(left + 56, 196, "map (H, W, C)", 13)
        fig.text(left + 183, 168, "kernel", 13)
        fig.text(left + 105, 232, note, 14)
    fig.text(380, 300, "Swin's four stages, with this convolution instead of window attention", 15)
    return fig


def dhvt() -> Figure:
    """Draw DHVT and its convolutional components."""
    fig = Figure(760, 330, "DHVT: overlapping patches, head interaction, convolutional MLP")
    fig.box(20, 120, 70, 60, "image", GRAY)
    fig.box(120, 105, 120, 90, "SOPE\nconvolutions\nof stride 2", ORANGE)
    fig.arrow((90, 150), (118, 150))
    fig.box(305, 50, 330, 195, "", "#f7f9fb")
    fig.text(470, 74, "12 blocks, each with norm and residual", 13)
    fig.box(325, 100, 140, 90, "HI-MHSA\n+ one token\nper head", BLUE)
    fig.box(485, 100, 130, 90, "DAFF\n1x1, depth-wise,\n1x1 convolution", ORANGE)
    fig.arrow((240, 150), (323, 150))
    fig.arrow((465, 145), (483, 145))
    fig.text(272, 138, "tokens", 13)
    fig.circle(272, 215, "cls", 16, GREEN)
    fig.arrow((272, 198), (272, 158), (323, 158))
    fig.text(548, 214, "class token times weights\nfrom the mean patch", 12)
    fig.arrow((635, 150), (672, 150))
    fig.box(675, 120, 70, 60, "class", GREEN)
    fig.text(
        380,
        285,
        "No position embedding: images of any size. Each component can be disabled.",
        15,
    )
    return fig


def dw_shortcut() -> Figure:
    """Draw the DW shortcut."""
    fig = Figure(760, 300, "DW shortcut: depth-wise convolution in parallel to each block")
    fig.arrow((15, 80), (60, 80))
    for number in range(3):
        left = 62 + number * 228
        fig.box(left, 50, 120, 60, f"block {number + 1}", BLUE)
        fig.arrow((left + 120, 80), (left + 163, 80))
        fig.circle(left + 175, 80, "+")
        fig.arrow((left - 20, 80), (left - 20, 175), (left + 8, 175))
        fig.box(left + 10, 145, 130, 60, "GELU, BN,\nDW conv 3x3", ORANGE)
        fig.arrow((left + 140, 175), (left + 175, 175), (left + 175, 93))
        fig.arrow((left + 186, 80), (left + 228 if number < 2 else left + 205, 80))
    fig.text(
        380,
        245,
        "The feature map at the block input bypasses the block through the convolution.",
        15,
    )
    fig.text(
        380,
        270,
        "Variants: one shortcut over several blocks; several parallel kernel sizes.",
        15,
    )
    return fig


def dvt() -> Figure:
    """Draw the DVT cascade."""
    fig = Figure(760, 330, "DVT: transformers with increasing token counts and early exits")
    for number, (side, share) in enumerate(((7, 8), (10, 5.6), (14, 4))):
        left = 85 + number * 245
        fig.grid(left, 40, side, share, lambda r, c: GRAY)
        fig.text(left + 28, 118, f"{side} x {side} tokens", 13)
        fig.arrow((left + 28, 126), (left + 28, 148))
        fig.box(left - 20, 150, 110, 54, f"ViT {number + 1}", BLUE)
        fig.arrow((left + 35, 204), (left + 35, 232))
        fig.box(left - 20, 234, 110, 34, "confident?" if number < 2 else "prediction", GREEN)
        if number < 2:
            fig.arrow((left + 90, 177), (left + 223, 177), dashed=True)
            fig.text(left + 157, 152, "tokens and\nattention logits", 12)
            fig.arrow((left + 90, 251), (left + 160, 251), (left + 160, 198), (left + 223, 198))
            fig.text(left + 182, 232, "no", 13)
            fig.arrow((left + 35, 268), (left + 35, 300))
            fig.text(left + 42, 316, "yes: answer", 13)
    return fig


def locality_guidance() -> Figure:
    """Draw locality guidance."""
    fig = Figure(760, 330, "Locality guidance: features of a CNN as targets for a transformer")
    fig.box(20, 130, 80, 60, "image", GRAY)
    fig.text(430, 34, "teacher: small CNN trained on the same data, frozen", 14)
    fig.text(430, 312, "student: any transformer; the teacher is discarded after training", 14)
    fig.arrow((100, 150), (130, 150), (130, 85), (163, 85))
    fig.arrow((100, 170), (130, 170), (130, 255), (163, 255))
    for number, (stage, block) in enumerate(
        (("stage 1", "first block"), ("stage 2", "middle block"), ("stage 3", "last block"))
    ):
        left = 165 + number * 190
        fig.box(left, 55, 120, 60, stage, ORANGE)
        fig.box(left, 225, 120, 60, block, BLUE)
        fig.arrow((left + 60, 225), (left + 60, 188))
        fig.box(left + 15, 140, 90, 46, "1x1 conv,\ndistance", GREEN)
        fig.arrow((left + 60, 115), (left + 60, 138))
        if number < 2:
            fig.arrow((left + 120, 85), (left + 188, 85))
            fig.arrow((left + 120, 255), (left + 188, 255))
    fig.arrow((665, 255), (690, 255))
    fig.text(722, 260, "classes", 13)
    return fig


FIGURES = {each.__name__: each for each in (dwnet, dhvt, dw_shortcut, dvt, locality_guidance)}


def main() -> None:
    """Write all figures into a folder."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, make in FIGURES.items():
        (out / f"{name}.svg").write_text(make().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
