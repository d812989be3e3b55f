_base_ = "./dvt-t2t-12_in1k.py"

# Later exits reuse relations only.
model = dict(backbone=dict(feature_reuse=False))
