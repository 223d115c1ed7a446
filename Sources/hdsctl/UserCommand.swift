import ArgumentParser
import ControlSocket
import Diagnostics
import WireText

/// `hdsctl user`: cut a person off, let him in again, say how he stands.
struct UserCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user",
        abstract: "Cut a person off everywhere, wipe devices, let the person in again, show how the person stands.",
        subcommands: [Disable.self, Wipe.self, Enable.self, Status.self])

    /// Where the two services listen that know of a person.
    struct Places: ParsableArguments {
        @Option(
            help: ArgumentHelp("Control socket of the authorization service.", valueName: "path"), completion: .file())
        var authSocket = "/run/hds-auth/control.sock"
        @OptionGroup var kms: SocketOptions
        @Flag(help: "Ask the authorization service only: the KMS follows by itself, or runs on another machine.")
        var withoutKMS = false
        @Flag(help: "Print one JSON object.")
        var json = false
    }

    struct Disable: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Disable the account, end logins, tokens and sessions, refuse every request; report what remains.",
            discussion: """
                The authorization service disables the account and lists the user in what it signs; the KMS reads that \
                list at once and keeps it. Other nodes and KMSs read it within seconds. The person's clients erase what \
                they keep, at once when they are connected, else when they next ask for tokens; nothing is lost, for \
                whoever may log in again gets it again. The report says what was done where and in how many \
                milliseconds, and what is out of reach. The same command again does it again.
                """)

        @Argument(help: "The person's e-mail address or id.")
        var user: String
        @Option(help: "Why; it stands in the database of people.")
        var reason: String?
        @Flag(help: "The person's clients keep what they have; else they are to erase it.")
        var keepDevices = false
        @OptionGroup var places: Places

        func run() throws {
            try reporting {
                try UserReport.change(user, "disable", places, reason: reason, keepsDevices: keepDevices)
            }
        }
    }

    struct Wipe: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End all logins of a person, whose clients are to erase what they keep: a device was lost.",
            discussion: """
                The account stays as it is: the person logs in again with the devices that are left. A client that is \
                connected erases its keys at once; another one when it next asks for tokens, which it gets no more. \
                'hdsctl user status' shows which have said that they are done.
                """)

        @Argument(help: "The person's e-mail address or id.")
        var user: String
        @OptionGroup var places: Places

        func run() throws {
            try reporting { try UserReport.change(user, "wipe", places) }
        }
    }

    struct Enable: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Lift what 'user disable' ordered; who left a directory stays out until the directory has the person.")

        @Argument(help: "The person's e-mail address or id.")
        var user: String
        @OptionGroup var places: Places

        func run() throws {
            try reporting { try UserReport.change(user, "enable", places) }
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show whether a person is cut off, by whom, and what the person still has.")

        @Argument(help: "The person's e-mail address or id.")
        var user: String
        @OptionGroup var places: Places

        func run() throws {
            try reporting {
                var report = UserReport(user: user, verb: "status")
                try report.askIssuer(places, "user-status", reason: nil)
                report.askKMS(places, "user-status")
                report.finish(places.json)
            }
        }
    }
}

/// `hdsctl directory`: how the directories of people are, and an answer to the question whether so many have left.
struct DirectoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "directory", abstract: "Look at the directories of people, and accept many leavers at once.",
        subcommands: [Status.self, Accept.self])

    struct Place: ParsableArguments {
        @Option(
            help: ArgumentHelp("Control socket of the authorization service.", valueName: "path"), completion: .file())
        var authSocket = "/run/hds-auth/control.sock"
        @Flag(help: "Print one JSON object.")
        var json = false
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show when each directory was read, and who waits.")

        @OptionGroup var place: Place

        func run() throws {
            try reporting {
                let answer = try ControlClient(path: place.authSocket).send(
                    "directory-status", arguments: ArgumentsWriter().node())
                guard !place.json else { return print(Terminal.plain(answer.rawText)) }
                let directories = answer.nodes("directories")
                guard !directories.isEmpty else { return show(["no directory is configured but SCIM, if that is"]) }
                for directory in directories {
                    show([
                        "\(directory.text("name"))  \(directory.number("people")) people, seen \(directory.text("seen")), "
                            + "read \(directory.text("read"))"
                    ])
                    if directory.number("unusable") + directory.number("contested") > 0 {
                        show([
                            "  left out: \(directory.number("unusable")) without id or address, "
                                + "\(directory.number("contested")) with an address that another has"
                        ])
                    }
                    if let trouble = directory["trouble"]?.string { show(["  trouble: \(trouble)"]) }
                    let waiting = directory.number("waitingCount")
                    guard waiting > 0 else { continue }
                    show(["  \(waiting) people are gone at once and wait; nobody of them is cut off:"])
                    show(directory.texts("waiting").map { "    \($0)" })
                    show(["  to do: hdsctl directory accept --directory \(directory.text("name")), or correct it"])
                }
            }
        }
    }

    struct Accept: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say that those who wait have left: they are cut off now.",
            discussion: "It counts for those whom 'directory status' names, and for nobody who goes missing after that."
        )

        @Option(help: "Which directory, as 'directory status' names it; needed when there are several.")
        var directory: String?
        @OptionGroup var place: Place

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("directory", directory)
                let answer = try ControlClient(path: place.authSocket).send(
                    "directory-accept", arguments: arguments.node()
                ) { announce($0) }
                guard !place.json else { return print(Terminal.plain(answer.rawText)) }
                show(["\(answer.text("directory")): \(answer.number("accepted")) leavers accepted"])
                if answer.number("waiting") > 0 { show(["still waiting: \(answer.number("waiting"))"]) }
                if let trouble = answer["trouble"]?.string { show(["trouble: \(trouble)"]) }
            }
        }
    }
}
