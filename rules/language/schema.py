"""The rule file as JSON Schema, for editors.

The one law: it is made from the shapes, so it never says anything else than the loader.
"""

from typing import Any

from rules.language.people import LanguageKinds
from rules.language.shapes import FileShape


def schema(kinds: LanguageKinds) -> dict[str, Any]:
    """JSON Schema (2020-12) of a rule file, with the kinds that this daemon has."""
    made = FileShape.model_json_schema(mode="validation")
    parts = made["$defs"]
    choice = parts["ChoiceShape"]
    parts["ChoiceShape"] = {"description": choice["description"], "anyOf": [{"type": "string"}, choice]}
    reach = parts["ReachShape"]
    reach["properties"] |= {
        kind: {"type": "string"} if targets is None else {"enum": sorted(targets)}
        for kind, targets in ((kind, kinds.targets.get(kind)) for kind in sorted(kinds.notifiers))
    }
    reach["additionalProperties"] = False
    reach["oneOf"] = [{"required": [kind]} for kind in sorted(kinds.notifiers)]
    for rule in ("RulePart", "TemplateShape", "RuleShape"):
        parts[rule]["properties"]["source"] = {"enum": sorted(kinds.sources), "description": "a source's kind"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A rule file of ticketd", **made}
