_base_ = "./dvt-t2t-12_in1k.py"

# Each exit starts anew: what the reuse of features and relations gives, by its absence.
model = dict(backbone=dict(feature_reuse=False, relation_reuse=False))
