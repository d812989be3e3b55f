# Hooks for fault-tolerant training. The tools add them to configs that lack them; in a config for
# other tools, use
#   _base_ = [..., "smallvit::_base_/guards.py"]
#   default_hooks = dict(**_base_.guards)
# All except the checkpoint and RoI hooks can be disabled:
#   default_hooks = dict(<key>=dict(enabled=False))
guards = dict(
    work_folder=dict(type="smallvit.WorkFolderHook"),
    stored_config=dict(type="smallvit.StoredConfigHook"),
    plain_checkpoint=dict(type="smallvit.PlainCheckpointHook"),
    resume=dict(type="smallvit.ResumeHook"),
    start_weights=dict(type="smallvit.StartWeightsHook"),
    resumed_settings=dict(type="smallvit.ResumedSettingsHook"),
    non_finite=dict(type="smallvit.NonFiniteHook"),
    data_report=dict(type="smallvit.DataReportHook"),
    bad_samples=dict(type="smallvit.BadSampleHook"),
    data_share=dict(type="smallvit.DataShareHook"),
    float32_rois=dict(type="smallvit.Float32RoIHook"),
    class_recall=dict(type="smallvit.ClassRecallHook"),
    plain_metrics=dict(type="smallvit.PlainMetricsHook"),
    preemption=dict(type="smallvit.PreemptionHook"),
    run_record=dict(type="smallvit.RunRecordHook"),
    checkpoint=dict(type="smallvit.AtomicCheckpointHook"),
)
