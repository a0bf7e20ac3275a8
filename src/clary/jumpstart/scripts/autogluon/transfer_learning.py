"""Train AutoGluon on a table: many kinds of model, and an ensemble of them."""

import os

import autogluon_table
import tabular
from autogluon.tabular import TabularPredictor

values = tabular.hyperparameters(
    eval_metric="auto", presets="medium_quality", auto_stack="False", num_bag_folds="0", num_bag_sets=1,
    num_stack_levels=0, refit_full="False", set_best_to_refit_full="False", save_space="False", verbosity=2,
)  # fmt: skip
(rows, target), (other, other_target), categorical = tabular.tables()
classes = None
if tabular.regression():
    problem, metric = "regression", "rmse"
else:
    target, other_target, classes = tabular.numbered(target, other_target)
    problem, metric = ("binary", "roc_auc") if len(classes) == 2 else ("multiclass", "accuracy")
folder = os.environ["SM_MODEL_DIR"]
predictor = TabularPredictor(
    label=autogluon_table.LABEL, problem_type=problem, path=folder, verbosity=values["verbosity"],
    eval_metric=metric if values["eval_metric"] == "auto" else values["eval_metric"],
)  # fmt: skip
folds = int(values["num_bag_folds"])
bagged = {"num_bag_folds": folds, "num_bag_sets": values["num_bag_sets"], "use_bag_holdout": True} if folds else {}
predictor.fit(
    autogluon_table.frame(rows, categorical, target),
    tuning_data=autogluon_table.frame(other, categorical, other_target),
    presets=values["presets"],
    auto_stack=tabular.is_true(values["auto_stack"]),
    num_stack_levels=values["num_stack_levels"] if folds else 0,
    refit_full=tabular.is_true(values["refit_full"]),
    set_best_to_refit_full=tabular.is_true(values["set_best_to_refit_full"]),
    save_space=tabular.is_true(values["save_space"]),
    **bagged,
)
print(predictor.leaderboard(silent=True).to_string(), flush=True)
tabular.keep_code(folder, classes, {"count": rows.shape[1], "categorical": categorical})
