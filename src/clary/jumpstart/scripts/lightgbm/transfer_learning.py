"""Train LightGBM on a table."""

import os

import joblib
import lightgbm
import tabular
from tabular import is_true

values = tabular.hyperparameters(
    num_boost_round=5000, early_stopping_rounds=30, metric="auto", learning_rate=0.009, num_leaves=67,
    feature_fraction=0.74, bagging_fraction=0.53, bagging_freq=5, max_depth=11, min_data_in_leaf=26, max_delta_step=0.0,
    lambda_l1=0.0, lambda_l2=0.0, boosting="gbdt", min_gain_to_split=0.0, scale_pos_weight=1.0, tree_learner="serial",
    feature_fraction_bynode=1.0, is_unbalance="False", max_bin=255, tweedie_variance_power=1.5, num_threads=0,
    verbosity=1, use_dask="False",
)  # fmt: skip
(rows, target), (other, other_target), categorical = tabular.tables()
classes, metric = None, values.pop("metric")
rounds, patience = values.pop("num_boost_round"), values.pop("early_stopping_rounds")
values.pop("use_dask")
unbalanced = is_true(values.pop("is_unbalance"))
if tabular.regression():
    values |= {"objective": "regression", "metric": "rmse" if metric == "auto" else metric}
    values.pop("scale_pos_weight")
else:
    target, other_target, classes = tabular.numbered(target, other_target)
    if len(classes) == 2:
        values |= {"objective": "binary", "metric": "binary_logloss" if metric == "auto" else metric}
        if unbalanced:
            values.pop("scale_pos_weight")
            values["is_unbalance"] = True
    else:
        values |= {
            "objective": "multiclass",
            "num_class": len(classes),
            "metric": "multi_logloss" if metric == "auto" else metric,
        }
        values.pop("scale_pos_weight")
names = [f"feature_{i}" for i in range(rows.shape[1])]
data = lightgbm.Dataset(rows, target, feature_name=names, categorical_feature=[names[i] for i in categorical])
model = lightgbm.train(
    values, data, rounds, valid_sets=[data.create_valid(other, other_target)],
    callbacks=[lightgbm.early_stopping(patience), lightgbm.log_evaluation(1)],
)  # fmt: skip
folder = os.environ["SM_MODEL_DIR"]
joblib.dump(model, os.path.join(folder, "model.pkl"))
tabular.keep_code(folder, classes, rows.shape[1])
