"""Serve a local web page to try a trained model on single images."""

from __future__ import annotations

import argparse
import ipaddress
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from smallvit.cli.arguments import (
    add_device_flag,
    checkpoint_parser,
    choose_device,
    positive,
    read_as_asked,
)
from smallvit.errors import UserError

if TYPE_CHECKING:
    from smallvit.apis.demo import DemoModel

EPILOG = """
The page is served on this machine only (127.0.0.1) and loads nothing from other sites. Uploaded
images are stored in a temporary folder that is deleted on exit (Ctrl-C). Detectors have a slider
for the score threshold, calibrated cascades (DVT) one for the compute budget.
"""
LOOPBACK = "127.0.0.1"
#: Interval between cleanups of uploads and their maximum age, in seconds.
CLEANED = (600, 3600)
#: System fonts, because gradio would download its own.
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit demo``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        argparse.Namespace: Parsed arguments.
    """
    parser = checkpoint_parser(__doc__, EPILOG)
    add_device_flag(parser)
    parser.add_argument(
        "--port", type=positive, metavar="N", help="default: the first free port from 7860"
    )
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        metavar="ADDRESS",
        help="address to listen on; any other than 127.0.0.1 exposes the model to the network",
    )
    parser.add_argument(
        "--score-thr", type=float, help="initial score threshold of a detector; default: 0.3"
    )
    parser.add_argument("--tile", type=positive, metavar="N", help="split larger images into tiles")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    args = parser.parse_args(argv)
    if args.score_thr is not None and not 0 <= args.score_thr <= 1:
        parser.error(f"--score-thr {args.score_thr}: must be between 0 and 1")
    if args.port is not None and args.port > 65535:
        parser.error(f"--port {args.port}: must be at most 65535")
    return args


def import_gradio() -> ModuleType:
    """Import gradio with its usage reports disabled.

    Returns:
        ModuleType: The ``gradio`` package.

    Raises:
        UserError: If it cannot be imported.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise UserError(
            f"smallvit demo requires gradio, which cannot be imported ({error}): "
            "pip install 'smallvit[demo]', preferably in a separate environment, because it "
            "requires an older Pillow than smallvit is tested with"
        ) from None
    return gradio


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``smallvit demo``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.
    """
    args = parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="smallvit-demo-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        gradio = import_gradio()  # fail before loading the model, which takes longer

        from smallvit.apis import Predictor
        from smallvit.apis.demo import DemoModel
        from smallvit.engine.predictions import DETECTION

        read_as_asked(args)
        threshold = 0.3 if args.score_thr is None else args.score_thr
        device = choose_device(args.device)
        predictor = Predictor(
            args.checkpoint, args.config, device, score_thr=threshold, tile=args.tile
        )
        if predictor.steps.bands is not None:
            raise UserError(
                f"the page takes photographs, and the model reads {predictor.steps.bands.channels} "
                "bands: smallvit predict reads files of them"
            )
        if args.score_thr is not None and predictor.task != DETECTION:
            raise UserError(
                f"--score-thr requires a detector; this is a model for {predictor.task}"
            )
        name = os.path.basename(args.checkpoint)
        page = build_page(gradio, DemoModel(predictor), name, device)
        _serve(gradio, page, args)


def build_page(gradio: ModuleType, model: DemoModel, name: str, device: str) -> Any:
    """Build the web page of a model.

    Args:
        gradio (ModuleType): The ``gradio`` package.
        model (DemoModel): Model behind the page.
        name (str): Name of the checkpoint.
        device (str): Device of the model.

    Returns:
        gradio.Blocks: The page.
    """
    predictor = model.predictor
    classes = predictor.classes
    with gradio.Blocks(
        title=f"{name} - smallvit", analytics_enabled=False, delete_cache=CLEANED
    ) as page:
        kind = f"{predictor.task}, {len(classes) or 'unnamed'} classes, on {device}"
        gradio.Markdown(f"# {_plain(name)}\n{kind}")
        with gradio.Row():
            with gradio.Column():
                image = _upload(gradio)
                settings = _settings(gradio, model)
                button = gradio.Button("Predict", variant="primary")
                with gradio.Accordion("Classes", open=False):
                    gradio.Markdown(
                        _plain(", ".join(classes)) or "the checkpoint contains no class names"
                    )
            with gradio.Column():
                message = gradio.Markdown("Choose an image.")
                shown = _results(gradio, predictor.task)

        def answer(path: str | None, *values: float) -> list[Any]:
            given = dict(zip(settings, values, strict=True))
            if "budget" in given:
                given["budget"] = given["budget"] / _unit(model)[0]
            found = model(path, **given)
            text = f"**{_plain(found.message)}**" if found.failed else _plain(found.message)
            values_of = {
                "picture": found.picture,
                "scores": found.scores or None,
                "rows": [_as_text(row) for row in found.rows],
            }
            return [text, *(values_of[key] for key in shown)]

        hidden = {"api_visibility": "private", "show_progress": "minimal"}
        events = [button.click, image.change, *(one.release for one in _sliders(settings))]
        for event in events:
            event(answer, [image, *settings.values()], [message, *shown.values()], **hidden)
    return page


def _upload(gradio: ModuleType) -> Any:
    """Create an image input that passes the uploaded file on for decoding as in training."""
    image = gradio.Image(type="filepath", image_mode=None, label="Image", height=320)
    decode = image.preprocess

    def preprocess(payload: Any) -> str | None:
        return decode(payload) if payload is None or payload.path is None else payload.path

    # Patch the instance: for a subclass, gradio would write a .pyi file next to its source.
    image.preprocess = preprocess
    return image


def _settings(gradio: ModuleType, model: DemoModel) -> dict[str, Any]:
    controls = model.controls
    if controls.threshold:
        start = model.predictor.score_thr
        return {"threshold": gradio.Slider(0, 1, start, step=0.01, label="Score threshold")}
    if controls.budget is not None:
        factor, unit = _unit(model)
        least, most = slider_ends(*(factor * value for value in controls.budget))
        step = 10.0 ** math.floor(math.log10((most - least) / 50))
        label = f"Budget: mean {unit} per image"
        return {"budget": gradio.Slider(least, most, most, step=step, label=label)}
    if controls.exits:
        numbers = list(range(1, controls.exits + 1))
        return {"exit_number": gradio.Radio(numbers, value=numbers[-1], label="Exit")}
    return {}


def slider_ends(least: float, most: float) -> tuple[float, float]:
    """Round the range of a slider outward, because browsers round its values.

    Args:
        least (float): Lower end.
        most (float): Upper end, greater than ``least``.

    Returns:
        tuple[float, float]: Rounded lower and upper end.
    """
    digits = 2 - math.floor(math.log10(most - least))
    unit = 10.0**digits
    return math.floor(least * unit) / unit, math.ceil(most * unit) / unit


def _sliders(settings: dict[str, Any]) -> list[Any]:
    return [one for one in settings.values() if hasattr(one, "release")]


def _unit(model: DemoModel) -> tuple[float, str]:
    """Return factor and name of the unit: GFLOPs, or MFLOPs for small models."""
    return (1e3, "MFLOPs") if model.controls.budget[1] < 1 else (1.0, "GFLOPs")


def _results(gradio: ModuleType, task: str) -> dict[str, Any]:
    from smallvit.apis.structures import COLUMNS
    from smallvit.engine.predictions import CLASSIFICATION

    picture = gradio.Image(
        label="Prediction",
        format="png",
        interactive=False,
        height=420,
        buttons=["download", "fullscreen"],  # without the share button, which uploads the image
    )
    if task == CLASSIFICATION:
        return {"scores": gradio.Label(label="Classes"), "picture": picture}
    head = list(COLUMNS[task])
    return {"picture": picture, "rows": gradio.Dataframe(headers=head, interactive=False)}


def _as_text(row: Sequence[Any]) -> list[str]:
    return [f"{value:.3g}" if isinstance(value, float) else str(value) for value in row]


def _plain(text: str) -> str:
    """Escape class and file names for Markdown."""
    marked = "".join(f"\\{one}" if one in "\\`*_{}[]#|!$~" else one for one in text)
    return marked.replace("<", "&lt;").replace(">", "&gt;")


def _serve(gradio: ModuleType, page: Any, args: argparse.Namespace) -> None:
    if not _is_loopback(args.host):
        print(
            f"--host {args.host}: anyone who can reach this machine can use the model",
            file=sys.stderr,
        )
    try:
        _, address, _ = page.launch(
            share=False,
            server_name=args.host,
            server_port=args.port,
            inbrowser=args.open,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            mcp_server=False,
            footer_links=[],
            max_file_size="64mb",
            theme=gradio.themes.Default(**FONTS),
        )
    except OSError as error:
        port = "a free port" if args.port is None else f"--port {args.port}"
        raise UserError(f"--host {args.host}, {port}: cannot serve the page: {error}") from error
    print(f"serving the model at {address} (stop with Ctrl-C)", flush=True)
    signal.signal(signal.SIGTERM, _end)  # so that uploads are deleted as well
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        page.close(verbose=False)


def _end(*_: Any) -> None:
    raise KeyboardInterrupt


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
