"""PyTorch models: language models, item-ID recommenders, re-rankers."""
