import Glibc

/// Starts scripts of deploy/lib.
enum BashScript {
    /// NIO's sockets are handed down: a listener of this process would live on in the program, and take connections that
    /// nobody accepts.
    private static let closing =
        "for name in /proc/$$/fd/*; do name=${name##*/}; ((name <= 2)) || eval \"exec $name>&-\"; done; exec /bin/bash \"$@\""

    /// With the socket `input` as standard input and output.
    static func start(_ name: String, _ words: [String], input: Int32?) throws -> pid_t {
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
        let all = ["/bin/bash", "-c", closing, "bash", "\(root)/deploy/lib/\(name)"] + words
        var arguments: [UnsafeMutablePointer<CChar>?] = all.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
            posix_spawn_file_actions_adddup2(&actions, input, STDOUT_FILENO)
        } else {
            posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        }
        var child: pid_t = 0
        guard posix_spawn(&child, "/bin/bash", &actions, nil, &arguments, environ) == 0 else {
            throw TestPKI.Failure(what: ([name] + words).joined(separator: " "))
        }
        return child
    }

    static func status(of child: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        return status
    }
}
