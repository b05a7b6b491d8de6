"""Who may do what to which ticket: checked at the moment of acting, never earlier.

The one law: being reachable is not being authorised; without an explicit `may` a contact may do nothing.
"""

from rules.matching import all_hold
from rules.model import Labels
from rules.policy import Contact, Policy
from rules.tickets.lifecycle import AUTHORITY


def refusal(policy: Policy, contact_id: str, action: str, labels: Labels) -> str | None:
    """Why this contact may not do this to a ticket with these labels, or None if they may."""
    contact = policy.contacts.get(contact_id)
    if contact is None:
        return f"{contact_id or 'nobody'} is not a contact of the policy"
    if not contact.active:
        return f"{contact_id} is not active"
    needed = AUTHORITY.get(action, action)
    if needed not in contact.may:
        return f"{contact_id} may not {needed}"
    if not all_hold(contact.scope, labels):
        wanted = ", ".join(str(one) for one in contact.scope)
        return f"{contact_id} may {needed} only where {wanted}"
    return None


def may(contact: Contact, action: str, labels: Labels) -> bool:
    """Whether a message to this contact should offer the action."""
    return contact.active and AUTHORITY.get(action, action) in contact.may and all_hold(contact.scope, labels)
