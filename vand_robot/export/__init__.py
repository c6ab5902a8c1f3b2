"""Export of policies: ONNX for `vand_robot.runtime`, and `torch.export`."""
