#!/usr/bin/python3
"""The library from cffi, which reads the public headers as they are, without their directives (B2).

    check_cffi.py HEADERS LIBRARY LAYOUT    HEADERS: preprocessed. LIBRARY: libofflinetok.so. LAYOUT: as below
    check_cffi.py HEADERS                   prints the C program whose output is LAYOUT
"""

import ctypes
import pathlib
import sys
import unittest
import warnings

import check
import layout
import offlinetok

try:
    import cffi
except ImportError:
    sys.exit("python3-cffi is missing: make deps")

ffi = cffi.FFI()
lib = None
printed = {}


def structs():
    """{name: type} of the structs that the header tells the members of."""
    types = {name: ffi.typeof(name) for name in ffi.list_types()[0]}
    return {name: ctype for name, ctype in types.items() if ctype.kind == "struct" and ctype.fields is not None}


def functions():
    """{name: type} of every function. One that the library does not export is an AttributeError."""
    values = {name: getattr(lib, name) for name in dir(lib)}
    return {name: ffi.typeof(value) for name, value in values.items() if isinstance(value, ffi.CData)}


def constants():
    """{name: value} of every enumerator."""
    values = {name: getattr(lib, name) for name in dir(lib)}
    return {name: value for name, value in values.items() if isinstance(value, int)}


def same_number(declared, parsed):
    """Whether both are as wide, and both signed or both not: of the names that C has for one type, ctypes has one."""
    signed = int(ffi.cast(parsed, -1)) < 0
    return (ctypes.sizeof(declared), declared(-1).value < 0) == (ffi.sizeof(parsed), signed)


def same_type(declared, parsed):
    """Whether a type of ctypes is the header's. What a binding does not use, or must free, it may have as void *."""
    if declared is None:
        return parsed.kind == "void"
    if declared is ctypes.c_void_p:
        return parsed.kind in ("pointer", "function")
    if declared in (ctypes.c_char, ctypes.c_char_p):
        return parsed.cname == ("char" if declared is ctypes.c_char else "char *")
    if issubclass(declared, ctypes._CFuncPtr):
        return same_function(declared._restype_, declared._argtypes_, parsed)
    if issubclass(declared, ctypes._Pointer):
        return parsed.kind == "pointer" and same_type(declared._type_, parsed.item)
    if issubclass(declared, ctypes.Array):
        return parsed.kind == "array" and parsed.length == declared._length_ and same_type(declared._type_, parsed.item)
    if issubclass(declared, ctypes.Structure):
        return parsed.cname == declared.__name__
    return parsed.kind == "primitive" and same_number(declared, parsed)


def same_function(result, parameters, parsed):
    return (
        parsed.kind == "function"
        and same_type(result, parsed.result)
        and len(parameters) == len(parsed.args)
        and all(map(same_type, parameters, parsed.args))
    )


class Header(unittest.TestCase):
    def test_structs_are_laid_out_as_the_compiler_does(self):
        self.assertGreater(len(structs()), 30)
        for name, ctype in structs().items():
            self.assertEqual(printed[name], (ffi.sizeof(ctype),), name)
            for member, field in ctype.fields:
                place = field.offset, ffi.sizeof(field.type)
                self.assertEqual(printed[f"{name}.{member}"], place, f"{name}.{member}")

    def test_constants_are_the_compiler_s(self):
        self.assertGreater(len(constants()), 100)
        for name, value in constants().items():
            self.assertEqual(printed[name], (value,), name)

    def test_no_bitfields_and_no_enum_types(self):
        for name, ctype in structs().items():
            for member, field in ctype.fields:
                self.assertEqual(field.bitsize, -1, f"{name}.{member}")
                self.assertNotEqual(field.type.kind, "enum", f"{name}.{member}")
        for name, ctype in functions().items():
            self.assertNotIn("enum", [part.kind for part in (ctype.result, *ctype.args)], name)

    def test_no_variadics_and_nothing_by_value(self):
        callbacks = {
            f"{name}.{member}": field.type
            for name, ctype in structs().items()
            for member, field in ctype.fields
            if field.type.kind == "function"
        }
        self.assertIn("otok_callbacks.authorize", callbacks)
        self.assertGreater(len(functions()), 80)
        for name, ctype in (functions() | callbacks).items():
            self.assertFalse(ctype.ellipsis, name)
            for part in (ctype.result, *ctype.args):
                self.assertIn(part.kind, ("void", "primitive", "pointer", "function"), name)

    def test_size_comes_first(self):
        """In every struct of the API but the error, whose size is fixed."""
        for name, ctype in structs().items():
            if f"{name}_init" in functions():
                member, field = ctype.fields[0]
                self.assertEqual((member, field.type.cname, field.offset), ("size", "size_t", 0), name)

    def test_what_is_written_by_hand_agrees(self):
        """The ctypes declarations beside this file have the types of the header."""
        for struct in offlinetok.STRUCTS:
            parsed = dict(structs()[struct.__name__].fields)
            for member, declared in struct._fields_:
                self.assertTrue(same_type(declared, parsed[member].type),
                                f"{struct.__name__}.{member} is {parsed[member].type.cname}")
        for name, (result, parameters) in offlinetok.FUNCTIONS.items():
            self.assertTrue(same_function(result, parameters, functions()[name]), functions()[name])


class Story(unittest.TestCase):
    def setUp(self):
        self.error = ffi.new("otok_error *")

    def call(self, function, *arguments):
        code = function(*arguments, self.error)
        self.assertEqual(code, lib.OTOK_OK, ffi.string(self.error.message))

    def out(self, kind, free, function, *arguments):
        pointer = ffi.new(f"{kind} **")
        self.call(function, *arguments, pointer)
        self.addCleanup(free, pointer[0])
        return pointer[0]

    def make(self, kind):
        struct = ffi.new(f"{kind} *")
        getattr(lib, f"{kind}_init")(struct, ffi.sizeof(kind))
        self.assertEqual(struct.size, ffi.sizeof(kind))
        return struct

    def test_version(self):
        self.assertRegex(ffi.string(lib.otok_version()).decode(), r"^\d+\.\d+\.\d+$")

    def test_issue_and_refresh(self):
        @ffi.callback("int64_t(void *)")
        def now(user):
            return clock[0]

        # cffi answers for a callback that raises: 0, which would be consent, unless it is told otherwise.
        @ffi.callback("int(void *, const otok_use *, otok_answer *)", error=lib.OTOK_E_CALLBACK)
        def authorize(user, use, answer):
            asked.append(ffi.string(use.session.subject))
            return lib.OTOK_OK

        clock, asked = [1_700_000_000 * 1000000], []
        callbacks, config = self.make("otok_callbacks"), self.make("otok_config")
        callbacks.now, callbacks.authorize = now, authorize
        issuer = ffi.new("char[]", b"https://id.example.org")
        config.issuer, config.callbacks = issuer, callbacks
        store = self.out("otok_store", lib.otok_store_close, lib.otok_store_open_memory)
        keyring = self.out("otok_keyring", lib.otok_keyring_free, lib.otok_keyring_generate, lib.OTOK_ALG_ES256)
        service = self.out("otok_service", lib.otok_service_close, lib.otok_service_open, config, store, keyring)

        grant, texts = self.make("otok_grant"), {}
        for member, text in ("subject", b"alice"), ("client_id", b"photos"), ("scope", b"openid offline_access"):
            texts[member] = ffi.new("char[]", text)
            setattr(grant, member, texts[member])
        grant.client_type = lib.OTOK_CLIENT_PUBLIC
        first = self.out("otok_tokens", lib.otok_tokens_free, lib.otok_issue, service, grant)
        self.assertEqual((first.outcome, first.generation), (lib.OTOK_OUTCOME_ISSUED, 0))

        clock[0] += 60 * 1000000
        request = self.make("otok_refresh_request")
        request.token, request.client_id = first.offline_token, texts["client_id"]
        request.client_type = lib.OTOK_CLIENT_PUBLIC
        second = self.out("otok_tokens", lib.otok_tokens_free, lib.otok_refresh, service, request)
        self.assertEqual((second.outcome, second.generation), (lib.OTOK_OUTCOME_ADVANCED, 1))
        self.assertNotEqual(ffi.string(second.offline_token), ffi.string(first.offline_token))
        self.assertEqual(asked, [b"alice", b"alice"])


def main():
    global lib
    warnings.simplefilter("error")
    ffi.cdef(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    lib = ffi.dlopen(sys.argv[2] if len(sys.argv) > 2 else None)
    if len(sys.argv) == 2:
        members = {name: [member for member, _ in ctype.fields] for name, ctype in structs().items()}
        names = [name for name in dir(lib) if name.startswith("OTOK_")]
        print(layout.program(members, names))
        return 0
    printed.update(layout.read(sys.argv[3]))
    return check.run(sys.modules[__name__])


if __name__ == "__main__":
    sys.exit(main())
