# Completion of potstill's command lines in fish, made by "potstill completion fish".
function __potstill_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] "$typed" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (string replace -r -- '^--[^=]*=' '' "$typed")
        else
            echo $line
        end
    end
end
complete -c potstill -f -a '(__potstill_complete)'
