"""How the C compiler lays the structs out: the source of a program that prints it, and what that program printed."""

import pathlib


def program(structs, constants):
    """C that prints the size of each struct, the place of each member, and each constant, a line each. A member or a
    constant that the header does not have is an error of the compiler."""
    lines = ["#include <stddef.h>", "#include <stdio.h>", "#include <offlinetok/store.h>", "", "int main(void)", "{"]
    for struct, members in sorted(structs.items()):
        lines.append(f'    printf("{struct} %zu\\n", sizeof({struct}));')
        for member in members:
            lines.append(
                f'    printf("{struct}.{member} %zu %zu\\n", offsetof({struct}, {member}),'
                f" sizeof((({struct} *)0)->{member}));"
            )
    lines += [f'    printf("{name} %lld\\n", (long long){name});' for name in sorted(constants)]
    return "\n".join([*lines, "    return 0;", "}"])


def read(path):
    """{"otok_x": (sizeof,), "otok_x.member": (offsetof, sizeof), "OTOK_X": (value,)} as printed."""
    lines = pathlib.Path(path).read_text(encoding="ascii").splitlines()
    return {name: tuple(map(int, numbers)) for name, *numbers in map(str.split, lines)}
