"""Trained networks on disk and on the Hub: a folder of config.json and model.safetensors, and converters from other implementations."""

from shufflenet.checkpoints.converters import convert
from shufflenet.checkpoints.folder import save
from shufflenet.checkpoints.hub import load, push_to_hub
from shufflenet.checkpoints.metadata import GREY, IMAGENET, Metadata, Preprocessing, describe

__all__ = ["GREY", "IMAGENET", "Metadata", "Preprocessing", "convert", "describe", "load", "push_to_hub", "save"]
