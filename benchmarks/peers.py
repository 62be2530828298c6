"""Times bnnzoo's runtime against other engines, in turns, and prints the ratios.

    python -m benchmarks.networks NETWORKS          # packed files of the zoo (needs Keras)
    python -m benchmarks.peers NETWORKS PEERS --lce-python LCE/bin/python --python PEER/bin/python

Create the environments and files of the other engines once:

    python3.11 -m venv LCE
    LCE/bin/pip install tensorflow-cpu==2.15.1 larq==0.14.0 larq-zoo==2.4.0 \
        larq-compute-engine==0.16.0
    LCE/bin/python benchmarks/peer_models/build_tflite.py PEERS

    python3 -m venv PEER
    PEER/bin/pip install ai-edge-litert onnxruntime onnx
    PEER/bin/python benchmarks/peer_models/build_onnx.py PEERS
    PEER/bin/python benchmarks/peer_models/build_onnx.py PEERS 32

Every contestant is a process that keeps its network loaded. In each round, each process in turn
runs its network a few times. The minimum over all rounds counts, because other load on the machine
only adds time. Contestants whose engine or file is missing are skipped and named.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

from benchmarks.contest import Contestant, run_rounds

LCE_NETWORKS = {
    "birealnet18": "BiRealNet",
    "quicknet": "QuickNet",
    "quicknet_large": "QuickNetLarge",
    "binary_densenet28": "BinaryDenseNet28",
    "resnet_e18": "BinaryResNetE18",
    "binary_alexnet": "BinaryAlexNet",
    "xnornet": "XNORNet",
}
LITERT_NETWORKS = {
    "ResNet-18 float32, LiteRT": "resnet18_f32",
    "ResNet-18 int8, LiteRT": "resnet18_int8",
    "MobileNetV2 float32, LiteRT": "mobilenet_v2_f32",
    "MobileNetV2 int8, LiteRT": "mobilenet_v2_int8",
    "MobileNetV3-small float32, LiteRT": "mobilenet_v3_small_f32",
    "MobileNetV3-large float32, LiteRT": "mobilenet_v3_large_f32",
}
ORT_NETWORKS = {
    "ResNet-18 float32, ONNX Runtime": "resnet18_f32_b1",
    "ResNet-18 int8, ONNX Runtime": "resnet18_int8_b1",
}


def contestants(args: argparse.Namespace, threads: int) -> Iterator[Contestant]:
    """Yields every network of every engine at one thread count."""
    for path in sorted(args.networks.glob("*.safetensors")):
        yield Contestant(path.stem, "bnnzoo", path, threads)
    forced = args.networks / "birealnet18.safetensors"
    for isa in args.isa:
        environment = {"BNNZOO_FORCE_ISA": isa}
        yield Contestant(
            f"birealnet18, {isa} forced", "bnnzoo", forced, threads, environment=environment
        )
    for name, larq in LCE_NETWORKS.items():
        path = args.peers / f"lce_{larq}.tflite"
        yield Contestant(f"{name}, LCE", "lce", path, threads, python=args.lce_python)
    for name, stem in LITERT_NETWORKS.items():
        path = args.peers / f"{stem}.tflite"
        yield Contestant(name, "litert", path, threads, python=args.python)
    for name, stem in ORT_NETWORKS.items():
        yield Contestant(name, "ort", args.peers / f"{stem}.onnx", threads, python=args.python)


def batch_contestants(args: argparse.Namespace) -> Iterator[Contestant]:
    """Yields the networks for 32 images on two threads."""
    for name in ("birealnet18", "birealnet18_int8"):
        yield Contestant(name, "bnnzoo", args.networks / f"{name}.safetensors", 2, batch=32)
    for name, stem in ORT_NETWORKS.items():
        path = args.peers / f"{stem.removesuffix('_b1')}_b32.onnx"
        yield Contestant(name, "ort", path, 2, batch=32, python=args.python)


def measure(candidates: Iterator[Contestant], args: argparse.Namespace) -> dict[str, float]:
    """Returns the times of the contestants that can run, and names the others."""
    present = []
    for contestant in candidates:
        if not contestant.file.exists() or (
            contestant.engine != "bnnzoo" and contestant.python is None
        ):
            print(f"skipped: {contestant.name} ({contestant.file.name} or its engine is missing)")
        elif not args.only or any(word in contestant.name for word in args.only):
            present.append(contestant)
    present = [replace(contestant, cpu_time=args.cpu_time) for contestant in present]
    return run_rounds(present, args.rounds, args.runs)


def print_times(title: str, times: dict[str, float], images: int = 1) -> None:
    """Prints milliseconds per image, and their ratio to those of birealnet18."""
    print(f"\n{title}\n")
    reference = times.get("birealnet18")
    for name, ms in sorted(times.items(), key=lambda item: item[1]):
        own = times.get(name.partition(",")[0]) if name.endswith(", LCE") else reference
        ratio = f"{ms / own:7.2f}x" if own else ""
        print(f"{name:40} {ms / images:9.2f} ms {ratio}")


def main() -> None:
    """Runs the contest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", type=Path)
    parser.add_argument("peers", type=Path)
    parser.add_argument("--lce-python", help="interpreter that has larq-compute-engine")
    parser.add_argument("--python", help="interpreter that has ai-edge-litert and onnxruntime")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--isa", nargs="*", default=["avx2"], help="forced, beside the best one")
    parser.add_argument("--only", nargs="*", help="words that names of contestants must have")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine, 1 thread")
    parser.add_argument("--json", type=Path, help="where to write the times")
    args = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for threads in args.threads:
        key = f"{threads} threads"
        results[key] = measure(contestants(args, threads), args)
        print_times(f"One image, {key}; LCE against the same network, others birealnet18",
                    results[key])  # fmt: skip
    if 2 in args.threads:
        results["batch 32"] = measure(batch_contestants(args), args)
        print_times("32 images, 2 threads, per image", results["batch 32"], images=32)
    if args.json:
        machine = {"machine": platform.platform(), "date": date.today().isoformat()}
        args.json.write_text(json.dumps({**machine, "ms": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
