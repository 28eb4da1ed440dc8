"""What is learned from past requests: which model does how well on what. No model is called, no weights are loaded.

`fit` trains a `QualityModel` from texts and scores (it needs scipy), `model` predicts with numpy alone.
"""
