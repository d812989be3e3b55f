# DHVT-T as in the CIFAR recipe.
network = dict(
    type="smallvit.DHVT",
    arch="tiny",
    patch_size=4,
    num_heads=4,
    drop_path_rate=0.1,
    sope_norm_cfg=dict(type="SyncBN"),
)
