"""libofflinetok in Python's ctypes, written by hand from the public header as the author of a binding would: the
structs and functions that are needed, under their names in C. It is a test of the header, and no binding for use.
"""

import ctypes
from ctypes import CFUNCTYPE, POINTER, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

OTOK_OK = 0
OTOK_E_INVALID = -1
OTOK_E_UNSUPPORTED = -3
OTOK_E_NOT_FOUND = -4
OTOK_E_CALLBACK = -21
OTOK_E_TOKEN_INVALID = -30
OTOK_E_TOKEN_REVOKED = -33
OTOK_E_TOKEN_REUSED = -34
OTOK_E_CONSENT = -44
OTOK_E_DENIED = -45
OTOK_ALG_ES256 = 1
OTOK_ROTATION_ALWAYS = 2
OTOK_ON = 1
OTOK_EVENT_ISSUED = 1
OTOK_EVENT_REFRESHED = 2
OTOK_EVENT_RETRIED = 3
OTOK_EVENT_REUSE = 5
OTOK_EVENT_REVOKED = 6
OTOK_EVENT_CONSENT_GRANTED = 11
OTOK_PURPOSE_REFRESH = 2
OTOK_CLIENT_PUBLIC = 1
OTOK_SESSION_LOGIN = 1
OTOK_OUTCOME_ISSUED = 1
OTOK_OUTCOME_KEPT = 2
OTOK_OUTCOME_ADVANCED = 3
OTOK_OUTCOME_RETRIED = 4
OTOK_TOKEN_OFFLINE = 1

# Macros have no address and no debugging information: a binding writes their values down.
OTOK_UNLIMITED = 2**63 - 1


# ---- What is opaque ----


class otok_keyring(ctypes.Structure):
    pass


class otok_store(ctypes.Structure):
    pass


class otok_service(ctypes.Structure):
    pass


class otok_answer(ctypes.Structure):
    pass


class otok_adoption(ctypes.Structure):
    pass


# ---- Structs ----


class otok_error(ctypes.Structure):
    _fields_ = [("code", c_int32), ("system_errno", c_int32), ("message", c_char * 504)]


class otok_lmdb_options(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("map_size", c_uint64),
        ("max_readers", c_uint32),
        ("unused", c_uint32),
        ("busy_timeout_ms", c_int64),
        ("no_sync", c_int32),
        ("read_only", c_int32),
    ]


class otok_policy(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("rotation", c_int32),
        ("reuse", c_int32),
        ("ahead", c_int32),
        ("overlong", c_int32),
        ("idle_timeout_s", c_int64),
        ("max_lifetime_s", c_int64),
        ("retry_window_s", c_int64),
        ("retry_limit", c_int64),
        ("clock_skew_s", c_int64),
        ("rotate_after_s", c_int64),
        ("touch_interval_s", c_int64),
        ("sweep_grace_s", c_int64),
        ("access_token", c_int32),
        ("access_token_revocation", c_int32),
        ("access_token_lifetime_s", c_int64),
        ("id_token_lifetime_s", c_int64),
        ("public_clients", c_int32),
        ("sender_constraint", c_int32),
        ("consent", c_int32),
        ("at_session_limit", c_int32),
        ("session_limit", c_int64),
        ("once_window_s", c_int64),
        ("once_keep_s", c_int64),
        ("once_reuse", c_int32),
        ("dpop_nonce", c_int32),
        ("dpop_window_s", c_int64),
    ]


class otok_event(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("type", c_int32),
        ("reason", c_int32),
        ("time_us", c_int64),
        ("realm", c_char_p),
        ("session_id", c_char_p),
        ("subject", c_char_p),
        ("client_id", c_char_p),
        ("sid", c_char_p),
        ("ip", c_char_p),
        ("user_agent", c_char_p),
        ("generation", c_uint32),
        ("distance", c_uint32),
        ("marks", c_uint32),
        ("grant_type", c_int32),
        ("cutoff_us", c_int64),
        ("scope", c_char_p),
        ("event_id", c_char_p),
        ("kind", c_int32),
        ("unused", c_int32),
    ]


class otok_session(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("session_id", c_char_p),
        ("subject", c_char_p),
        ("client_id", c_char_p),
        ("scope", c_char_p),
        ("sid", c_char_p),
        ("label", c_char_p),
        ("start_ip", c_char_p),
        ("start_user_agent", c_char_p),
        ("last_ip", c_char_p),
        ("last_user_agent", c_char_p),
        ("grant_type", c_int32),
        ("binding", c_int32),
        ("started_us", c_int64),
        ("last_used_us", c_int64),
        ("rotated_us", c_int64),
        ("idle_expires_us", c_int64),
        ("max_expires_us", c_int64),
        ("generation", c_uint32),
        ("retries", c_uint32),
        ("state", c_int32),
        ("kind", c_int32),
        ("sub", c_char_p),
        ("notes", c_char_p),
    ]


class otok_peer(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("jkt", c_char_p),
        ("x5t_s256", c_char_p),
        ("ip", c_char_p),
        ("user_agent", c_char_p),
    ]


class otok_use(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("purpose", c_int32),
        ("attempt", c_uint32),
        ("session", POINTER(otok_session)),
        ("scope", c_char_p),
        ("audience", POINTER(c_char_p)),
        ("audience_count", c_size_t),
        ("peer", POINTER(otok_peer)),
    ]


now_function = CFUNCTYPE(c_int64, c_void_p)
client_policy_function = CFUNCTYPE(c_int, c_void_p, c_char_p, POINTER(otok_policy))
event_function = CFUNCTYPE(None, c_void_p, POINTER(otok_event))
use_function = CFUNCTYPE(c_int, c_void_p, POINTER(otok_use), POINTER(otok_answer))


class otok_callbacks(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("now", now_function),
        ("client_policy", client_policy_function),
        ("event", event_function),
        ("authorize", use_function),
        ("claims", use_function),
        # Not used here: a function pointer takes the room of any pointer.
        ("adopt", c_void_p),
        ("sign", c_void_p),
    ]


class otok_config(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("issuer", c_char_p),
        ("realm", c_char_p),
        ("directory", c_char_p),
        ("audience", c_char_p),
        ("policy", POINTER(otok_policy)),
        ("callbacks", POINTER(otok_callbacks)),
        ("user", c_void_p),
        ("deadline_ms", c_int64),
        ("ceilings", c_void_p),
        ("outbox_limit", c_uint64),
    ]


class otok_grant(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("subject", c_char_p),
        ("client_id", c_char_p),
        ("scope", c_char_p),
        ("grant_type", c_int32),
        ("client_type", c_int32),
        ("sub", c_char_p),
        ("sid", c_char_p),
        ("nonce", c_char_p),
        ("acr", c_char_p),
        ("amr", POINTER(c_char_p)),
        ("amr_count", c_size_t),
        ("audience", POINTER(c_char_p)),
        ("audience_count", c_size_t),
        ("auth_time_us", c_int64),
        ("claims", c_char_p),
        ("label", c_char_p),
        ("peer", POINTER(otok_peer)),
        ("binding", c_int32),
        ("kind", c_int32),
        ("idle_timeout_s", c_int64),
        ("max_lifetime_s", c_int64),
        ("authorization_details", c_char_p),
        ("act", c_char_p),
        ("replaces", c_char_p),
        ("once_key", c_char_p),
        ("refresh_token", c_int32),
        ("unused", c_int32),
    ]


class otok_tokens(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("offline_token", c_char_p),
        ("access_token", c_char_p),
        ("id_token", c_char_p),
        ("scope", c_char_p),
        ("session_id", c_char_p),
        ("response_json", c_char_p),
        ("access_expires_in_s", c_int64),
        ("offline_expires_in_s", c_int64),
        ("outcome", c_int32),
        ("generation", c_uint32),
    ]


class otok_refresh_request(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("token", c_char_p),
        ("client_id", c_char_p),
        ("client_type", c_int32),
        ("unused", c_int32),
        ("scope", c_char_p),
        ("resource", POINTER(c_char_p)),
        ("resource_count", c_size_t),
        ("peer", POINTER(otok_peer)),
    ]


class otok_introspect_request(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("token", c_char_p),
        ("client_id", c_char_p),
        ("resource", POINTER(c_char_p)),
        ("resource_count", c_size_t),
        ("client_type", c_int32),
        ("unused", c_int32),
        ("peer", POINTER(otok_peer)),
    ]


class otok_introspection(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("active", c_int32),
        ("token", c_int32),
        ("session_id", c_char_p),
        ("subject", c_char_p),
        ("client_id", c_char_p),
        ("scope", c_char_p),
        ("expires_us", c_int64),
        ("response_json", c_char_p),
    ]


class otok_filter(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("subject", c_char_p),
        ("client_id", c_char_p),
        ("sid", c_char_p),
        ("whole_realm", c_int32),
        ("unused", c_int32),
    ]


class otok_consent(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("subject", c_char_p),
        ("client_id", c_char_p),
        ("scope", c_char_p),
        ("granted_us", c_int64),
        ("updated_us", c_int64),
    ]


class otok_page(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("sessions", POINTER(POINTER(otok_session))),
        ("count", c_size_t),
        ("next_cursor", c_char_p),
    ]


class otok_list_request(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("filter", POINTER(otok_filter)),
        ("cursor", c_char_p),
        ("order", c_int32),
        ("limit", c_uint32),
    ]


class otok_outbox_batch(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("events", POINTER(POINTER(otok_event))), ("count", c_size_t)]


class otok_stats(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("issued", c_uint64),
        ("adopted", c_uint64),
        ("refreshed", c_uint64),
        ("rotated", c_uint64),
        ("retried", c_uint64),
        ("refused", c_uint64),
        ("forged", c_uint64),
        ("reuse", c_uint64),
        ("revoked", c_uint64),
        ("evicted", c_uint64),
        ("expired", c_uint64),
        ("cutoffs", c_uint64),
        ("consents_granted", c_uint64),
        ("consents_revoked", c_uint64),
        ("introspected", c_uint64),
        ("rolled_back", c_uint64),
        ("conflicts", c_uint64),
        ("outbox_overflows", c_uint64),
    ]


# ---- Functions ----
# {name: (result, parameters)}. Text that is to be freed comes as void pointer: a c_char_p would be made into bytes, and
# its address lost.

_error = POINTER(otok_error)
_service = POINTER(otok_service)

FUNCTIONS = {
    "otok_error_name": (c_char_p, [c_int]),
    "otok_error_oauth": (c_char_p, [c_int]),
    "otok_error_http": (c_int, [c_int]),
    "otok_version": (c_char_p, []),
    "otok_string_free": (None, [c_void_p]),
    "otok_keyring_generate": (c_int, [c_int32, POINTER(POINTER(otok_keyring)), _error]),
    "otok_keyring_free": (None, [POINTER(otok_keyring)]),
    "otok_store_open_memory": (c_int, [POINTER(POINTER(otok_store)), _error]),
    "otok_store_open_lmdb": (
        c_int,
        [c_char_p, POINTER(otok_lmdb_options), POINTER(POINTER(otok_store)), _error],
    ),
    "otok_store_close": (None, [POINTER(otok_store)]),
    "otok_service_open": (
        c_int,
        [POINTER(otok_config), POINTER(otok_store), POINTER(otok_keyring), POINTER(_service), _error],
    ),
    "otok_service_close": (None, [_service]),
    "otok_answer_refuse": (c_int, [POINTER(otok_answer), c_int32, c_char_p]),
    "otok_answer_set_scope": (c_int, [POINTER(otok_answer), c_char_p]),
    "otok_answer_set_access_claims": (c_int, [POINTER(otok_answer), c_char_p]),
    "otok_issue": (c_int, [_service, POINTER(otok_grant), POINTER(POINTER(otok_tokens)), _error]),
    "otok_refresh": (c_int, [_service, POINTER(otok_refresh_request), POINTER(POINTER(otok_tokens)), _error]),
    "otok_refresh_many": (
        c_int,
        [
            _service,
            POINTER(POINTER(otok_refresh_request)),
            c_size_t,
            POINTER(POINTER(otok_tokens)),
            POINTER(otok_error),
            _error,
        ],
    ),
    "otok_tokens_free": (None, [POINTER(otok_tokens)]),
    "otok_introspect": (
        c_int,
        [_service, POINTER(otok_introspect_request), POINTER(POINTER(otok_introspection)), _error],
    ),
    "otok_introspection_free": (None, [POINTER(otok_introspection)]),
    "otok_logout": (c_int, [_service, POINTER(otok_filter), c_int32, POINTER(c_uint64), _error]),
    "otok_consent_put": (c_int, [_service, c_char_p, c_char_p, c_char_p, _error]),
    "otok_consent_get": (c_int, [_service, c_char_p, c_char_p, POINTER(POINTER(otok_consent)), _error]),
    "otok_consent_free": (None, [POINTER(otok_consent)]),
    "otok_consent_revoke": (c_int, [_service, c_char_p, c_char_p, POINTER(c_uint64), _error]),
    "otok_list": (c_int, [_service, POINTER(otok_list_request), POINTER(POINTER(otok_page)), _error]),
    "otok_page_free": (None, [POINTER(otok_page)]),
    "otok_outbox_read": (c_int, [_service, c_uint32, POINTER(POINTER(otok_outbox_batch)), _error]),
    "otok_outbox_acknowledge": (c_int, [_service, POINTER(otok_outbox_batch), _error]),
    "otok_outbox_batch_free": (None, [POINTER(otok_outbox_batch)]),
    "otok_stats_get": (c_int, [_service, POINTER(otok_stats), _error]),
    "otok_stats_openmetrics": (c_int, [POINTER(_service), c_size_t, POINTER(c_void_p), _error]),
}

# otok_x_init() for each struct that goes in.
FUNCTIONS |= {
    f"{struct.__name__}_init": (None, [POINTER(struct), c_size_t])
    for struct in (
        otok_lmdb_options,
        otok_policy,
        otok_peer,
        otok_callbacks,
        otok_config,
        otok_grant,
        otok_refresh_request,
        otok_introspect_request,
        otok_filter,
        otok_list_request,
        otok_stats,
    )
}

OPAQUE = (otok_keyring, otok_store, otok_service, otok_answer, otok_adoption)
STRUCTS = [
    value
    for value in list(globals().values())
    if isinstance(value, type) and issubclass(value, ctypes.Structure) and value not in OPAQUE
]
CONSTANTS = {name: value for name, value in list(globals().items()) if name.startswith("OTOK_")}


def load(path):
    """The library, its functions declared."""
    library = ctypes.CDLL(path)
    for name, (result, parameters) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, parameters
    return library
