"""What a run keeps from viewers: its vault, and its faults without what was sealed or redacted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ...core.commands import StepOptions
from ...core.faults import Fault, classify
from ...core.redaction import Patterns
from ...errors import SecretError, Suspended, Undecodable
from ...journal.vault import Vault, rewritten

if TYPE_CHECKING:
    from .execution import Execution


def vault_of(execution: Execution) -> Vault:
    """Seals and opens with the key of the run's tenant. A flow that reveals what cannot be had is set aside."""
    return Vault(execution.host.keyring, execution.row.tenant)


def flow_vault(execution: Execution, vault: Vault) -> Vault:
    """The same, as the flow has it: outside of a step nobody could journal that a secret was refused."""
    return vault.with_refusal(partial(_set_aside, execution))


def fault_of(execution: Execution, error: BaseException, options: StepOptions | None = None) -> Fault:
    """The fault of an error, without the secrets that the run has seen, and redacted as the step's result is."""
    fault = execution.vault.scrub(classify(error))
    how = None if options is None else options.redact
    return rewritten(fault, how.json) if isinstance(how, Patterns) else fault


def _set_aside(execution: Execution, error: SecretError) -> BaseException:
    drive = execution.drive
    drive.stuck = Undecodable(
        f"the flow reveals a secret that it cannot have: {error.message}", run=execution.row.id, remedy=error.remedy
    )
    drive.unwound |= drive.waiting.keys()
    return Suspended()
