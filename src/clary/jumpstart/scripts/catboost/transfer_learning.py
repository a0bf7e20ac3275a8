"""Train CatBoost on a table."""

import os

import catboost
import numpy as np
import tabular

values = tabular.hyperparameters(
    iterations=500, early_stopping_rounds=5, eval_metric="Auto", learning_rate=0.03, depth=6, l2_leaf_reg=3.0,
    random_strength=1.0, max_leaves=31, rsm=1.0, sampling_frequency="PerTreeLevel", min_data_in_leaf=1,
    bagging_temperature=1.0, boosting_type="Auto", scale_pos_weight=1.0, max_bin="Auto", grow_policy="SymmetricTree",
    random_seed=0, thread_count=-1, verbose=1,
)  # fmt: skip
(rows, target), (other, other_target), categorical = tabular.tables()
classes = None
for name in ("boosting_type", "max_bin", "eval_metric"):
    if str(values[name]).lower() == "auto":
        values.pop(name)
if values["grow_policy"] != "Lossguide":
    values.pop("max_leaves")
if values["grow_policy"] == "SymmetricTree":
    values.pop("min_data_in_leaf")
if tabular.regression():
    values.pop("scale_pos_weight")
    model = catboost.CatBoostRegressor(loss_function="RMSE", allow_writing_files=False, **values)
else:
    target, other_target, classes = tabular.numbered(target, other_target)
    kind = {"loss_function": "Logloss"} if len(classes) == 2 else {"loss_function": "MultiClass"}
    if len(classes) != 2:
        values.pop("scale_pos_weight")
    else:
        values.setdefault("eval_metric", "AUC")
    model = catboost.CatBoostClassifier(allow_writing_files=False, **kind, **values)


def pool(features, labels):
    """Categories as text: the library takes no fractions for them."""
    if not categorical:
        return catboost.Pool(features, labels)
    made = features.astype(object)
    for i in categorical:
        made[:, i] = [f"{v:g}" for v in features[:, i]]
    return catboost.Pool(made, labels, cat_features=categorical)


model.fit(pool(rows, target), eval_set=pool(other, np.asarray(other_target)))
folder = os.environ["SM_MODEL_DIR"]
model.save_model(os.path.join(folder, "model"))
tabular.keep_code(folder, classes, {"count": rows.shape[1], "categorical": categorical})
