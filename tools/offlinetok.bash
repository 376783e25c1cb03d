# bash completion for offlinetok(1): commands and options come from the command itself.
# SPDX-License-Identifier: MIT
# shellcheck shell=bash

_offlinetok_words() {
    offlinetok --words "$@" 2>/dev/null
}

# The command on the line so far: the first word that is neither an option nor the value of one.
_offlinetok_command() {
    local i word
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        -s | -k | -r | -p | -o | --store | --keyring | --token-keys | --realm | --policy) ((i++)) ;;
        -* | = | :) ;;
        *)
            [[ ${COMP_WORDS[i - 1]} == [=:] ]] || { echo "$word" && return; }
            ;;
        esac
    done
}

_offlinetok_values() {
    case $1 in
    --order) echo "newest oldest" ;;
    --mode) echo "add replace mirror" ;;
    --use) echo "signing token" ;;
    --algorithm) echo "ES256 EdDSA RS256 PS256" ;;
    --at) echo "now" ;;
    keys) echo "list jwks generate add activate drop" ;;
    consents) echo "list revoke" ;;
    help) _offlinetok_words | grep -v '^-' ;;
    esac
}

_offlinetok() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command words
    [[ $current == = ]] && current=
    [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD - 2]}
    command=$(_offlinetok_command)
    case $before in
    -s | --store)
        # The colon parts words: behind it is a folder.
        mapfile -t COMPREPLY < <(compgen -W 'lmdb: memory:' -- "$current")
        compopt -o nospace
        return
        ;;
    :)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        return
        ;;
    -k | -p | -o | --keyring | --token-keys | --policy | --output | --jwk | backup | restore | import | generate)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    esac
    if [[ $current != -* ]]; then
        words=$(_offlinetok_values "$before")
        [[ -n $words || -n $command ]] || words=$(_offlinetok_words | grep -v '^-')
    else
        words=$(_offlinetok_words ${command:+"$command"} | grep '^-')
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}

complete -F _offlinetok offlinetok
