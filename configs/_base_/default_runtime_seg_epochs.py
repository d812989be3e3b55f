# For segmentors trained by epochs; see default_runtime_seg.py.
_base_ = "./default_runtime_seg.py"

log_processor = dict(by_epoch=True)
default_hooks = dict(
    logger=dict(log_metric_by_epoch=True), checkpoint=dict(by_epoch=True, interval=1)
)
