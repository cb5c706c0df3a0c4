"""Resources as API.md section 2 names them: frozen values with plain attributes and wire aliases.

Validation only; nothing here knows where a resource is kept or how it is enforced.
"""

from models.resources.client import Client, ClientConfiguration, Limits
from models.resources.credential import Credential
from models.resources.filter import Filter, Mask, Redact
from models.resources.member import Member
from models.resources.problems import Problem, dotted, problems
from models.resources.proxy import Proxy
from models.resources.rule import BodyCheck, FieldCheck, Matcher, PathCheck, Rule
from models.resources.secrets import ApiKeySecret, BearerSecret, NoSecret, Placement, SecretBody, placement_of
from models.resources.target import BaseURL, Target, parse_base_url
from models.resources.token import Token
from models.resources.user import User

__all__ = [
    "ApiKeySecret",
    "BaseURL",
    "BearerSecret",
    "BodyCheck",
    "Client",
    "ClientConfiguration",
    "Credential",
    "FieldCheck",
    "Filter",
    "Limits",
    "Mask",
    "Matcher",
    "Member",
    "NoSecret",
    "PathCheck",
    "Placement",
    "Problem",
    "Proxy",
    "Redact",
    "Rule",
    "SecretBody",
    "Target",
    "Token",
    "User",
    "dotted",
    "parse_base_url",
    "placement_of",
    "problems",
]
