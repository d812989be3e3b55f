#!/usr/bin/env python
"""Compare the operators of smallvit.ops with plain PyTorch implementations, in alternation.

inhomogeneous: compared with unfold, multiply and sum.
dynamic: compared with one grouped convolution over all samples and channels.

Ratios are plain / ours, for the time of the fastest round and for peak memory. Extra memory is the
peak allocated during a call minus the memory allocated before it, including results: on the CPU
computed from allocator events in a torch.profiler trace, on CUDA from
torch.cuda.max_memory_allocated. Inputs are random; outputs are compared first.

--attention compares PyTorch's fused attention with two matrix multiplications and a softmax, for
many sizes, in CPU time; the last column is the implementation that the layers choose for a size.
"""

import argparse
import json
import sys

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_overwrite_flag, choose_device, positive, require_free

#: Defaults of flags that do not apply to --attention.
DEFAULTS = {
    "operator": "inhomogeneous",
    "shape": [4, 96, 56, 56],
    "kernel_size": 7,
    "groups": 32,
    "dtype": "float32",
}


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--operator", choices=["inhomogeneous", "dynamic"], help="default: inhomogeneous"
    )
    parser.add_argument(
        "--attention", action="store_true", help="compare the implementations of attention"
    )
    parser.add_argument(
        "--shape",
        type=positive,
        nargs=4,
        metavar=("B", "C", "H", "W"),
        help="feature map; default: 4 96 56 56",
    )
    parser.add_argument("--kernel-size", type=positive, help="odd kernel size; default: 7")
    parser.add_argument(
        "--groups", type=positive, help="groups of the inhomogeneous operator; default: 32"
    )
    parser.add_argument(
        "--tokens", type=positive, nargs="+", help="with --attention: numbers of tokens"
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "float64", "bfloat16", "float16"],
        help="default: float32; with --attention float32 and bfloat16",
    )
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument(
        "--channels-last", action="store_true", help="feature map in channels-last memory format"
    )
    parser.add_argument("--threads", type=positive, help="CPU threads; default: that of torch")
    parser.add_argument("--repeats", type=positive, default=5, help="rounds; default: 5")
    parser.add_argument("--json", metavar="OUT", help="also write the results to a file")
    add_overwrite_flag(parser)
    args = parser.parse_args(argv)
    if args.attention:
        return _check_attention(parser, args)
    if args.tokens:
        parser.error("--tokens requires --attention")
    for name, value in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.kernel_size % 2 == 0:
        parser.error(f"--kernel-size must be odd, got {args.kernel_size}")
    if args.operator == "inhomogeneous" and args.shape[1] % args.groups:
        parser.error(f"--groups {args.groups} does not divide the {args.shape[1]} channels")
    return args


def _check_attention(parser, args: argparse.Namespace) -> argparse.Namespace:
    """Reject flags that do not apply to attention."""
    for name in ("operator", "shape", "kernel_size", "groups", "channels_last"):
        if getattr(args, name):
            parser.error(f"--{name.replace('_', '-')} does not apply to --attention")
    return args


def unfolded(x, weight):
    """Inhomogeneous convolution by unfold, multiply and sum."""
    import torch.nn.functional as F

    B, C, H, W = x.shape
    G, taps = weight.shape[1:3]
    k = round(taps**0.5)
    patches = F.unfold(x, k, padding=k // 2).view(B, G, C // G, taps, H, W)
    return (patches * weight.unsqueeze(2)).sum(3).view(B, C, H, W)


def grouped(x, weight):
    """Dynamic convolution with the samples as groups of channels."""
    import torch.nn.functional as F

    B, C, H, W = x.shape
    k = weight.shape[-1]
    kernels = weight.reshape(B * C, 1, k, k)
    out = F.conv2d(x.reshape(1, B * C, H, W), kernels, padding=k // 2, groups=B * C)
    return out.view(B, C, H, W)


def make_inputs(args: argparse.Namespace):
    """Create a feature map, kernels and an output gradient."""
    import torch

    B, C, H, W = args.shape
    k = args.kernel_size
    inhomogeneous = args.operator == "inhomogeneous"
    shape = (B, args.groups, k * k, H, W) if inhomogeneous else (B, C, k, k)
    options = {"dtype": getattr(torch, args.dtype), "device": args.device}
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    torch.manual_seed(0)
    x = torch.randn(B, C, H, W, **options).contiguous(memory_format=layout)
    grad = torch.randn(B, C, H, W, **options).contiguous(memory_format=layout)
    return x.requires_grad_(), torch.randn(shape, **options).requires_grad_(), grad


def make_calls(args: argparse.Namespace) -> dict:
    """Return the functions to time for each mode, on the same inputs."""
    import torch

    from smallvit.ops import dynamic_dwconv2d, inhomogeneous_dwconv2d

    x, weight, grad = make_inputs(args)
    if args.operator == "inhomogeneous":
        functions = {"plain": unfolded, "ours": inhomogeneous_dwconv2d}
    else:
        functions = {"plain": grouped, "ours": dynamic_dwconv2d}

    def inference(function):
        with torch.inference_mode():
            return function(x, weight)

    def training(function):
        return torch.autograd.grad(function(x, weight), (x, weight), grad)

    return {
        mode: {name: lambda f=f, run=run: run(f) for name, f in functions.items()}
        for mode, run in (("inference", inference), ("forward+backward", training))
    }


def check_agreement(plain, ours) -> float:
    """Return the maximum relative difference, and raise an error if it exceeds rounding."""
    import torch

    scale = plain.abs().max().double()
    error = ((plain.double() - ours.double()).abs().max() / scale).item()
    bound = 8 * torch.finfo(plain.dtype).eps
    if not error <= bound:
        raise UserError(
            f"the formulations differ by {error:.2g} of the largest value, over {bound}"
        )
    return error


def measure(args: argparse.Namespace) -> dict:
    """Measure both implementations in both modes."""
    from smallvit.analysis.harness import time_interleaved
    from smallvit.analysis.memory import peak_memory

    calls = make_calls(args)
    agreement = check_agreement(*(calls["inference"][name]() for name in ("plain", "ours")))
    results = {}
    for mode, pair in calls.items():
        memory = {
            name: round(peak_memory(call, args.device) * 2**20) for name, call in pair.items()
        }
        rounds = time_interleaved(pair, args.repeats, warm_up=1, device=args.device)
        seconds = {name: [each[name].wall for each in rounds] for name in pair}
        fastest = {name: min(values) for name, values in seconds.items()}
        results[mode] = {
            "seconds": seconds,
            "extra_bytes": memory,
            "speed_ratio": fastest["plain"] / fastest["ours"],
            "memory_ratio": memory["plain"] / memory["ours"],
        }
    return {"max_relative_difference": agreement, "modes": results}


def report(results: dict) -> None:
    """Print the table."""
    print(f"largest relative difference {results['max_relative_difference']:.2g}")
    print(f"{'':18}{'plain ms':>12}{'ours ms':>12}{'faster':>9}", end="")
    print(f"{'plain MiB':>12}{'ours MiB':>12}{'less':>9}")
    for mode, figures in results["modes"].items():
        ms = {name: 1000 * min(values) for name, values in figures["seconds"].items()}
        mib = {name: value / 2**20 for name, value in figures["extra_bytes"].items()}
        print(
            f"{mode:18}{ms['plain']:12.2f}{ms['ours']:12.2f}{figures['speed_ratio']:8.1f}x"
            f"{mib['plain']:12.1f}{mib['ours']:12.1f}{figures['memory_ratio']:8.1f}x"
        )


def time_attention(args: argparse.Namespace) -> list[dict]:
    """Time both implementations of attention and print the table."""
    import torch

    from smallvit.analysis import attention_timing as timing

    dtypes = [args.dtype] if args.dtype else ["float32", "bfloat16"]
    sizes = [size for size in timing.SIZES if not args.tokens or size[0] in args.tokens]
    new = set(args.tokens or ()) - {tokens for tokens, _ in sizes}
    sizes += [(tokens, max(1, 1600 // tokens)) for tokens in sorted(new)]
    print(
        f"{timing.describe_processor() if args.device == 'cpu' else args.device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, {args.repeats} rounds; ms"
    )
    print(timing.header())
    found = []
    each = timing.time_all(
        [getattr(torch, dtype) for dtype in dtypes],
        sizes,
        device=args.device,
        rounds=args.repeats,
    )
    for result in each:
        print(timing.row(result), flush=True)
        found.append(result)
    return found


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.json, args.overwrite)

    import torch

    from smallvit.utils.files import write_whole

    choose_device(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    found = {"sizes": time_attention(args)} if args.attention else compare(args)
    if args.json:
        write_whole(args.json, json.dumps({"settings": vars(args), **found}, indent=2))


def compare(args: argparse.Namespace) -> dict:
    """Compare both implementations of an operator and print the table."""
    import torch

    print(
        f"{args.operator}, {'x'.join(map(str, args.shape))}, kernel {args.kernel_size}, "
        f"{args.dtype}, {args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    results = measure(args)
    report(results)
    return results


if __name__ == "__main__":
    sys.exit(run_tool(main))
