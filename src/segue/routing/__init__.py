"""Who answers: the pipeline from a request's features to a choice with propensities, learning, and judging a policy."""
