# Completion of potstill's command lines in bash, made by "potstill completion bash".
_potstill() {
    local line files= cur=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            files=1
        else
            COMPREPLY+=("${line%%$'\t'*}")
        fi
    done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    # bash breaks words at : too, and replaces only what stands behind the last one.
    if [[ $cur == : || ${COMP_WORDS[COMP_CWORD-1]} == : ]]; then
        COMPREPLY=("${COMPREPLY[@]##*:}")
    fi
    if [[ -n $files ]]; then
        [[ $cur == = ]] && cur=
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do
            COMPREPLY+=("$line")
        done < <(compgen -f -- "$cur")
    fi
}
complete -F _potstill potstill
