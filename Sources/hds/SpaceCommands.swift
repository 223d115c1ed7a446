import ArgumentParser
import Diagnostics
import HDSClient
import WireText

struct SpacesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "spaces", abstract: "List your spaces.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withClient { client in
            let spaces = try await client.spaces.all()
            if common.json {
                var json = JSONWriter()
                json.beginArray()
                for space in spaces {
                    json.beginObject()
                    json.member("id", space.id)
                    json.member("name", ifPresent: space.name)
                    json.member("resource", ifPresent: space.resource)
                    json.member("participants", space.participants)
                    json.member("created", space.published.iso8601)
                    json.member("problem", ifPresent: space.problem)
                    json.endObject()
                }
                json.endArray()
                Terminal.output.line(json.text())
                return
            }
            guard !spaces.isEmpty else {
                Terminal.output.line("You have no spaces yet. 'hds space create NAME' makes one.")
                return
            }
            let out = Terminal.output
            out.table(
                spaces.map { space in
                    [
                        String(space.id.prefix(8)), String(space.participants.count),
                        String(space.published.iso8601.prefix(10)),
                        space.problem == nil ? out.clean(space.name ?? "?") : "(\(out.clean(space.problem ?? "")))",
                    ]
                }, header: ["ID", "PEOPLE", "SINCE", "NAME"])
        }
    }
}

struct SpaceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "space", abstract: "Make a space, and change who is in it.",
        subcommands: [Create.self, Direct.self, Add.self, Leave.self, Moderator.self, Participants.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a space.")
        @Argument(help: "Its name; encrypted like everything in it.") var name: String
        @Option(
            parsing: .upToNextOption,
            help: ArgumentHelp("People who shall be in it from the start.", valueName: "email"))
        var with: [String] = []
        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await common.withClient { client in
                let space = try await client.spaces.create(name: name, with: with)
                if common.json {
                    var json = JSONWriter()
                    json.beginObject()
                    json.member("id", space.id)
                    json.member("name", name)
                    json.member("resource", ifPresent: space.resource)
                    json.member("participants", space.participants)
                    json.endObject()
                    Terminal.output.line(json.text())
                } else {
                    let out = Terminal.output
                    let people = space.participants.count == 1 ? "you alone" : "\(space.participants.count) people"
                    out.line(
                        out.styled("Made", .green) + " the space '\(name)' (\(space.id.prefix(8))) with \(people).")
                }
            }
        }
    }

    struct Direct: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Open the space of you and one other person; made when there is none.",
            discussion: """
                It is the oldest one in which exactly you two are, by the word of the KMS. One to which a third is added \
                is that no more, and the next 'direct' makes another.
                """)
        @Argument(help: "E-mail address of the other.") var email: String
        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await common.withClient { client in
                let (space, isNew) = try await client.spaces.direct(with: email)
                if common.json {
                    var json = JSONWriter()
                    json.beginObject()
                    json.member("id", space.id)
                    json.member("name", ifPresent: space.name)
                    json.member("new", isNew)
                    json.endObject()
                    return Terminal.output.line(json.text())
                }
                let out = Terminal.output
                out.line(
                    (isNew ? out.styled("Made", .green) : "This is")
                        + " the space of you two: '\(out.clean(space.name ?? "?"))' (\(space.id.prefix(8))).")
            }
        }
    }

    struct Moderator: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make somebody a moderator of a space, or an ordinary member again.",
            discussion: """
                While a space has moderators, the KMS lets them alone add and remove others; everybody reads, writes and \
                may leave. The first one may be made by anybody in the space.
                """)
        @Argument(help: "Name, or beginning of the id.") var space: String
        @Argument(help: "E-mail address.") var email: String
        @Flag(help: "Take the role away.") var remove = false
        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await common.withClient { client in
                let found = try await client.spaces.find(space)
                try await client.spaces.setModerator(!remove, email, of: found)
                guard !common.json else { return Terminal.output.line("{\"space\":\"\(found.id)\"}") }
                Terminal.output.line(
                    "\(email) is \(remove ? "no" : "a") moderator of '\(space)'\(remove ? " any more" : "").")
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add somebody, who can then read all that was written so far.")
        @Argument(help: "Name, or beginning of the id.") var space: String
        @Argument(help: "E-mail address.") var email: String
        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await common.withClient { client in
                let found = try await client.spaces.find(space)
                let added = try await client.spaces.add(email, to: found)
                if common.json {
                    var json = JSONWriter()
                    json.beginObject()
                    json.member("space", found.id)
                    json.member("added", added.id)
                    json.endObject()
                    Terminal.output.line(json.text())
                } else {
                    let out = Terminal.output
                    out.line(
                        out.styled("Added", .green)
                            + " \(out.clean(added.person.name)) <\(out.clean(added.person.email))> to '\(space)'.")
                    if try await client.spaces.isExternal(added.person.email) {
                        out.line("This person is of another organisation and can read all that was written so far.")
                    }
                }
            }
        }
    }

    struct Leave: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Leave a space, or take somebody else out.",
            discussion: """
                Whoever is out gets none of the space's keys any more, old or new. When you take somebody out, the key is \
                changed at once; when you leave, those who remain change it before their next message.
                """)
        @Argument(help: "Name, or beginning of the id.") var space: String
        @Option(help: ArgumentHelp("Take this person out instead of yourself.", valueName: "email")) var remove: String?
        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await common.withClient { client in
                let found = try await client.spaces.find(space)
                if let remove {
                    try await client.spaces.remove(remove, from: found)
                } else {
                    try await client.spaces.leave(found)
                }
                guard !common.json else { return Terminal.output.line("{\"space\":\"\(found.id)\"}") }
                Terminal.output.line(
                    remove.map { "\($0) is out of '\(space)', and its key is changed." }
                        ?? "You have left '\(space)'. Its keys are forgotten here.")
            }
        }
    }

    struct Participants: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List who is in a space, by the word of the KMS.",
            discussion: "Who may have the keys is decided by the KMS alone; where the cloud's list differs, it is said."
        )
        @Argument(help: "Name, or beginning of the id.") var space: String
        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await common.withClient { client in
                let people = try await client.spaces.participants(of: try await client.spaces.find(space))
                if common.json {
                    var json = JSONWriter()
                    json.beginArray()
                    for person in people {
                        json.beginObject()
                        json.member("id", person.id)
                        json.member("email", ifPresent: person.email)
                        json.member("name", ifPresent: person.name)
                        json.member("hasKeys", person.hasKeys)
                        json.member("isRouted", person.isRouted)
                        json.member("isModerator", person.isModerator)
                        json.member("isExternal", person.isExternal)
                        json.endObject()
                    }
                    json.endArray()
                    Terminal.output.line(json.text())
                    return
                }
                let out = Terminal.output
                out.table(
                    people.map { person in
                        var remarks: [String] = []
                        if person.id == client.account.id { remarks.append("you") }
                        if person.isModerator { remarks.append("moderator") }
                        if person.isExternal { remarks.append("of another organisation") }
                        if !person.hasKeys { remarks.append("has no keys") }
                        if person.hasKeys && !person.isRouted {
                            remarks.append("has the keys, but the cloud delivers nothing")
                        }
                        return [
                            out.clean(person.name ?? person.id), out.clean(person.email ?? "-"),
                            remarks.joined(separator: ", "),
                        ]
                    }, header: ["NAME", "E-MAIL", ""])
            }
        }
    }
}
