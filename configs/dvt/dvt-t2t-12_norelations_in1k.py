_base_ = "./dvt-t2t-12_in1k.py"

# Later exits reuse features only.
model = dict(backbone=dict(relation_reuse=False))
