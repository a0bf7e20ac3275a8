"""The built-in XGBoost: AWS's hyperparameters, channels, log lines, artifacts and answers on the current library."""
