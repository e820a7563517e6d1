"""Names of the baselines; a module without torch, which command lines read as well."""

CONTROLS = ("random", "prompt_length", "benchmark_mean", "tfidf", "random_features")
# trained where a profile names none
DEFAULT_BASELINES = (
    *("knn", "logistic", "mlp", "boosting", "factorisation", "clusters", "irt", "kernel"),
    *CONTROLS,
)
# all that a profile may name
BASELINES = (*DEFAULT_BASELINES, "avengers_pro", "predicted_category", "category_residual")
