"""What the machine of rank 0 is busy with, under the names that MLflow shows as system metrics."""

from __future__ import annotations

import importlib.util

import psutil
import torch

MEGABYTE = 1e6


class SystemFigures:
    """Figures of this machine, each since the one before.

    Args:
        device: what this process computes on; a GPU is number 0 in the figures, whatever its index.
    """

    def __init__(self, device: torch.device) -> None:
        self.gpu = device if device.type == "cuda" else None
        self.has_nvml = importlib.util.find_spec("pynvml") is not None
        self.network = psutil.net_io_counters()
        psutil.cpu_percent()  # the first answer is about nothing

    def __call__(self) -> dict[str, float]:
        """Use of CPUs, memory, network and disk, and of the GPU; its utilisation where nvidia-ml-py is installed."""
        memory, before, self.network = psutil.virtual_memory(), self.network, psutil.net_io_counters()
        figures = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": memory.percent,
            "disk_usage_percentage": psutil.disk_usage("/").percent,
        }
        if before is not None and self.network is not None:  # a machine may have no network
            figures["network_receive_megabytes"] = (self.network.bytes_recv - before.bytes_recv) / MEGABYTE
            figures["network_transmit_megabytes"] = (self.network.bytes_sent - before.bytes_sent) / MEGABYTE
        if self.gpu is not None:
            free, total = torch.cuda.mem_get_info(self.gpu)
            figures["gpu_0_memory_usage_megabytes"] = (total - free) / MEGABYTE
            figures["gpu_0_memory_usage_percentage"] = 100 * (total - free) / total
            if self.has_nvml:
                try:
                    figures["gpu_0_utilization_percentage"] = torch.cuda.utilization(self.gpu)
                except Exception:  # noqa: BLE001 - NVML's own errors, as of a MIG slice: no figure is worth the run
                    self.has_nvml = False
        return {f"system/{name}": float(value) for name, value in figures.items()}
