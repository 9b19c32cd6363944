"""Makes a bundle's model from features that the serving code (`vigie features`) computed.

Reading order: bundle, decode, reference, golden_events, golden; table, preprocess, fit, evaluate, trees,
graph, histograms, model_card; pipeline.
"""
