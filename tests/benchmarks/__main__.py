"""All benchmarks: `python -m tests.benchmarks`, or `make bench`."""

import sys

from tests.benchmarks import data, policy, recurrent, rollout, teleop

if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    print("Training step of the recurrent layers, forward and backward, over torch.nn's")
    recurrent.main()
    print("\nThe policy's control step")
    policy.main()
    print("\nRollouts")
    rollout.main()
    print("\nThe web device and its loop")
    teleop.main()
    print("\nMany demonstrations")
    data.main()
