#compdef potstill
# Completion of potstill's command lines in zsh, made by "potstill completion zsh".
_potstill() {
    local line files
    local -a found
    for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            files=1
        elif [[ -n $line ]]; then
            found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( $#found )) && _describe potstill found
    if [[ -n $files ]]; then
        [[ ${words[CURRENT]} == --*=* ]] && compset -P '*='
        _files
    fi
}
if [[ ${funcstack[1]} == _potstill ]]; then
    _potstill "$@"
else
    compdef _potstill potstill
fi
