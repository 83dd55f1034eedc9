"""Training by a recipe, and evaluation: `train(read_recipe("paper"), …)`. Open loop.py for the loop, recipe.py for what it obeys."""

from shufflenet.training.evaluate import Evaluation, evaluate
from shufflenet.training.recipe import RECIPES, Recipe, read_recipe
from shufflenet.training.train import Training, train

__all__ = ["RECIPES", "Evaluation", "Recipe", "Training", "evaluate", "read_recipe", "train"]
