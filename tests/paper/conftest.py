"""Made-up measurements, so that the tests know every figure that a report may show."""

import json

import pytest


def classification_record(variant: str, errors: list[float]) -> dict:
    runs = [
        {
            "seed": seed,
            "top1_error": error,
            "top5_error": 1.25,
            "images_per_second": 321.0 + seed,
            "training_seconds": 77.0,
            "host": "a test machine",
            "commit": "abcdefabcdefabcd",
            "torch": "2.9",
            "date": "2026-11-24",
        }
        for seed, error in enumerate(errors)
    ]
    return {
        "variant": variant,
        "data": "made-up",
        "stem": "small",
        "recipe": {},
        "recipe_file": "experiments/made-up.yaml",
        "training_pictures": 60606,
        "test_pictures": 10101,
        "batch_size": 32,
        "iterations": 987,
        "epochs": 0.521,
        "size": [28, 28],
        "multiply_adds": 2_460_000,
        "parameters": 67_318,
        "command": "shufflenet paper run --rows x",
        "top1_error": {"mean": sum(errors) / len(errors), "deviation": None, "n": len(errors)},
        "runs": runs,
    }


@pytest.fixture
def write_results(tmp_path):
    """write_results({variant: errors of seeds 0, 1, …}) → a folder of result files of one experiment, "made-up"."""

    def write(errors: dict[str, list[float]]):
        folder = tmp_path / "results" / "classification" / "made-up"
        folder.mkdir(parents=True, exist_ok=True)
        for variant, of_seeds in errors.items():
            (folder / f"{variant}.json").write_text(json.dumps(classification_record(variant, of_seeds)))
        return tmp_path / "results"

    return write
