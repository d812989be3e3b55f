# What guards a training against losses, and what a foreign config takes over by
#   _base_ = [..., "smallvit::_base_/guards.py"]
#   default_hooks = dict(**_base_.guards)
# All but the two of the checkpoints have a switch: default_hooks = dict(<key>=dict(enabled=False)).
guards = dict(
    plain_checkpoint=dict(type="smallvit.PlainCheckpointHook"),
    resume=dict(type="smallvit.ResumeHook"),
    non_finite=dict(type="smallvit.NonFiniteHook"),
    bad_samples=dict(type="smallvit.BadSampleHook"),
    data_share=dict(type="smallvit.DataShareHook"),
    run_record=dict(type="smallvit.RunRecordHook"),
    checkpoint=dict(type="smallvit.AtomicCheckpointHook"),
)
