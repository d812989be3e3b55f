# DeepSpeed with ZeRO stage 2 in bfloat16. GPUs only; needs `pip install deepspeed`.
#   _base_ = ["<config>.py", "../_base_/strategies/deepspeed.py"]
#   optim_wrapper = dict(type="DeepSpeedOptimWrapper")
runner_type = "FlexibleRunner"
strategy = dict(
    type="DeepSpeedStrategy",
    bf16=dict(enabled=True),
    zero_optimization=dict(
        stage=2,
        allgather_partitions=True,
        reduce_scatter=True,
        overlap_comm=True,
        contiguous_gradients=True,
    ),
)
