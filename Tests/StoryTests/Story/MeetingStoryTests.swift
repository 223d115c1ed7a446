import Foundation
import Glibc
import HDSClient
import TestServers
import Testing
import WireText

extension StoryTests {
    /// Core, KMS, authorization service, connector and `hds` as they are delivered; calendars on a real CalDAV server.
    @Suite("Meetings, with real calendars") struct MeetingStoryTests {
        /// Everything that a story needs, ended whatever happens.
        private func with(_ body: (Deployment, TestCalendarServer) async throws -> Void) async throws {
            let domain = try await Domain.make()
            try await ConnectorNode.enter(domain)
            let deployment = Deployment(domain)
            let server = try await TestCalendarServer.start(.radicale)
            do {
                try await deployment.startAll()
                try await body(deployment, server)
                server.end()
                try await deployment.end()
            } catch {
                server.end()
                try? await deployment.end()
                throw error
            }
        }

        private static func invitation(
            _ uid: String, _ subject: String, location: String = "@meet", alice: Person, others: [String], day: Int = 1
        ) -> String {
            let start = Timestamp(seconds: Timestamp.now().seconds / 3600 * 3600 + Int64(day) * 86_400)
            func utc(_ time: Timestamp) -> String {
                time.iso8601.prefix(19).filter { $0 != "-" && $0 != ":" } + "Z"
            }
            let lines =
                [
                    "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//somebody//else//EN", "BEGIN:VEVENT", "UID:\(uid)",
                    "DTSTAMP:\(utc(.now()))", "DTSTART:\(utc(start))", "DTEND:\(utc(start.adding(seconds: 1800)))",
                    "SUMMARY:\(subject)", "LOCATION:\(location)",
                    "DESCRIPTION:Agenda:\\n1. What Ünal said\\, again\\n2. everything else that is long enough to be\r\n  folded twice",
                    "X-SOMEBODY;X-P=\"a,b\":keep me", "ORGANIZER;CN=Alice:mailto:\(alice.email)",
                ]
                + others.map { "ATTENDEE;CN=\($0);PARTSTAT=NEEDS-ACTION:mailto:\($0)" }
                + [
                    "BEGIN:VALARM", "ACTION:DISPLAY", "TRIGGER:-PT15M", "DESCRIPTION:soon", "END:VALARM", "END:VEVENT",
                    "END:VCALENDAR",
                ]
            return lines.map { $0 + "\r\n" }.joined()
        }

        /// What of an event is the user's own: all but what the connector writes.
        private static func own(_ text: String) -> [String] {
            let unfolded = text.replacing("\r\n ", with: "")
            return unfolded.split(separator: "\r\n").map(String.init).filter { line in
                !["CONFERENCE", "X-HDS-", "PRODID", "DTSTAMP"].contains { line.hasPrefix($0) }
            }.map { line in
                guard line.hasPrefix("DESCRIPTION:Agenda") else { return line }
                return line.range(of: "\\n-=-=-").map { String(line[..<$0.lowerBound]) } ?? line
            }.sorted()
        }

        @Test(
            "Without consent nothing; then a meeting gets its room and its space, moves and goes; the core reads nothing",
            .enabled(if: TestCalendarServer.isInstalled), .timeLimit(.minutes(5)))
        func story() async throws {
            try await with { deployment, server in
                let domain = deployment.domain
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                // So that the core knows him.
                _ = try await bob.client.changes(in: UUID().uuidString.lowercased())
                let app = try await CalendarApp("alice", server: server.port)
                _ = try await CalendarApp("bob", server: server.port)
                try await app.put(
                    "budget",
                    Self.invitation(
                        "uid-budget", "Zebra budget", alice: alice, others: [bob.email, "carol@elsewhere.example"]))
                let node = try ConnectorNode.start(
                    "calendar-1", in: domain,
                    users: [(alice.id, alice.email, "alice"), (bob.id, bob.email, "bob")], server: server.port)
                do {
                    try await play(domain, alice, bob, app, node)
                    try await node.child.cut()
                } catch {
                    try? await node.child.cut()
                    throw error
                }
                for person in [alice, bob] { await person.close() }
                for service in Service.allCases { try await deployment[service]?.cut() }
                // The core has had it all, and nothing to read; nor have the connector's own files and log.
                for folder in ["core", "calendar", "log"] {
                    for place in try FileManager.default.subpathsOfDirectory(atPath: domain.path(folder)) {
                        guard let octets = FileManager.default.contents(atPath: domain.path("\(folder)/\(place)"))
                        else {
                            continue
                        }
                        for word in ["Zebra", "carol@elsewhere", "uid-budget", "Agenda"] {
                            #expect(octets.range(of: Data(word.utf8)) == nil, "\(folder)/\(place): \(word)")
                        }
                    }
                }
            }
        }

        private func play(
            _ domain: Domain, _ alice: Person, _ bob: Person, _ app: CalendarApp, _ node: ConnectorNode
        ) async throws {
            func hds(_ words: String..., by name: String = "alice") async throws -> String {
                try await ChildProcess.run(
                    Repository.program("hds"), ["meetings"] + words, folder: domain.folder,
                    environment: ["HDS_HOME": domain.path("home-\(name)-first"), "TZ": "Europe/Berlin"])
            }
            _ = try await eventually("the refusal", within: .seconds(60), seen: { node.child.tail() }) {
                await node.health().contains("HDS-CAL-CONSENT") ? true : nil
            }
            try await ConnectorNode.consent(domain, version: 1)
            _ = try await eventually("the meeting", within: .seconds(90), seen: { node.child.tail() }) {
                let text = try? await hds()
                return text?.contains("Zebra budget  (waits for join details)") == true ? true : nil
            }
            try await node.waitUntilReady()

            // Written once by whoever looks after it.
            let outcome = try JSONDocument(text: try await hds("attend", "--once", "--json")).root
            #expect(outcome["outcome"]?.string == "written")
            _ = try await eventually("that the core knows it", within: .seconds(20), seen: { node.child.tail() }) {
                try await hds("attend", "--once", "--json").isEmpty ? true : nil
            }
            let url = try #require(outcome["url"]?.string)
            let written = try #require(try await app.text("budget"))
            #expect(written.replacing("\r\n ", with: "").contains("CONFERENCE"))
            #expect(written.replacing("\r\n ", with: "").contains(url))
            #expect(written.contains("X-SOMEBODY;X-P=\"a,b\":keep me\r\n"))
            // In German, for that is alice's language.
            #expect(written.replacing("\r\n ", with: "").contains("Besprechung"))
            // Bob reads the space under keys of the KMS, and not the meeting.
            let space = try await bob.spaces.find("Zebra budget")
            #expect(space.id == outcome["spaceId"]?.string)
            try await alice.spaces.post("See you there", in: alice.spaces.find("Zebra budget"))
            #expect(try await bob.texts(of: space) == ["See you there"])
            #expect(try await bob.client.meetings.list().isEmpty)

            // Made, moved and called off from the client; the calendar has it.
            let party = try await hds(
                "create", "Zebra party", "--start", Self.local(days: 2), "--location", "@meet", "--with", bob.email)
            #expect(party.contains("Made"))
            let made = try await eventually("the party", within: .seconds(30)) {
                try? await alice.client.meetings.list().first { $0.subject == "Zebra party" }
            }
            #expect(try await hds("busy", bob.email).contains(bob.email))
            #expect(try await hds("cancel", made.id).contains("is cancelled"))
            _ = try await eventually("the end of the party", within: .seconds(20), seen: { node.child.tail() }) {
                try await hds("list").contains("Zebra party") ? nil : true
            }

            // Bob is away, and says so in his calendar.
            let bobs = try await CalendarApp("bob", server: try #require(Self.port(of: domain)))
            try await bobs.put(
                "away",
                Self.invitation("uid-away", "Zebra leave", location: "home", alice: bob, others: [], day: 1)
                    .replacing("BEGIN:VALARM", with: "X-MICROSOFT-CDO-BUSYSTATUS:OOF\r\nBEGIN:VALARM"))
            _ = try await eventually("bob's absence", within: .seconds(30), seen: { node.child.tail() }) {
                try await hds("away", bob.email).contains("is away from") ? true : nil
            }
            await bobs.close()

            // What an operator sees.
            #expect(try await node.ask("users", folder: domain.folder).contains("ok"))
            let why = try await node.ask("why", alice.email, folder: domain.folder)
            #expect(why.contains("calendar-1") && why.contains("meetings in the window"))
            #expect(try await node.ask("sync", alice.id, folder: domain.folder).contains("calendars looked at"))
            #expect(try await node.ask("replay", alice.id, folder: domain.folder).contains("events for the core"))
            let refused = try? await node.ask("why", "nobody@example.com", folder: domain.folder)
            #expect(refused == nil)

            // A secret that is changed at the server and not here.
            try domain.write("wrong", to: "calendar/alice.secret")
            _ = try await eventually("HDS-CAL-AUTH", within: .seconds(60), seen: { node.child.tail() }) {
                await node.health().contains("HDS-CAL-AUTH") ? true : nil
            }
            #expect(try await node.ask("why", alice.id, folder: domain.folder).contains("What to do"))
            #expect(try await hds("status").contains("calendar-credentials-refused"))
            try domain.write("alicepw", to: "calendar/alice.secret")
            #expect(try await node.ask("sync", alice.id, folder: domain.folder).contains("calendars looked at"))
            _ = try await eventually("its end", within: .seconds(60), seen: { node.child.tail() }) {
                try await hds("status").hasPrefix("ok") ? true : nil
            }
        }

        private static func local(days: Int) -> String {
            String(Timestamp.now().adding(seconds: Int64(days) * 86_400).iso8601.prefix(10)) + "T18:00"
        }

        private static func port(of domain: Domain) throws -> Int? {
            let text = try domain.read("calendar/calendar-1.yaml")
            return text.range(of: "http://127.0.0.1:").flatMap { Int(text[$0.upperBound...].prefix { $0.isNumber }) }
        }

        @Test(
            "Twenty times bob accepts while the details are written, and a connector is killed among it: nothing is lost",
            .enabled(if: TestCalendarServer.isInstalled), .timeLimit(.minutes(8)))
        func acceptance() async throws {
            try await with { deployment, server in
                let domain = deployment.domain
                try await ConnectorNode.consent(domain, version: 1)
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                _ = try await bob.client.changes(in: UUID().uuidString.lowercased())
                let app = try await CalendarApp("alice", server: server.port)
                let users = [(alice.id, alice.email, "alice")]
                var nodes = [
                    try ConnectorNode.start("calendar-1", in: domain, users: users, server: server.port),
                    try ConnectorNode.start("calendar-2", in: domain, users: users, server: server.port),
                ]
                let staying = try ChildProcess(
                    Repository.program("hds"), ["meetings", "attend", "--json"], output: domain.path("log/attend.log"),
                    environment: ["HDS_HOME": domain.path("home-alice-first")])
                do {
                    var generator = SeededGenerator(seed: 20)
                    for number in 0..<20 {
                        if number == 7 {
                            // Whoever has alice's share: the other one goes on.
                            let holder = try await holder(of: alice, nodes, domain)
                            try await nodes[holder].child.cut()
                            nodes.remove(at: holder)
                        }
                        try await app.put(
                            "m\(number)",
                            Self.invitation(
                                "uid-\(number)", "Round \(number)", alice: alice, others: [bob.email],
                                day: 1 + number % 5))
                        let pause = Int.random(in: 0...2500, using: &generator)
                        try await Task.sleep(for: .milliseconds(pause))
                        try await app.edit("m\(number)") {
                            $0.replacing("PARTSTAT=NEEDS-ACTION", with: "PARTSTAT=ACCEPTED")
                        }
                    }
                    for number in 0..<20 {
                        let before = Self.own(
                            Self.invitation(
                                "uid-\(number)", "Round \(number)", alice: alice, others: [bob.email],
                                day: 1 + number % 5
                            )
                            .replacing("PARTSTAT=NEEDS-ACTION", with: "PARTSTAT=ACCEPTED"))
                        let text = try await eventually(
                            "details of \(number)", within: .seconds(90), seen: { staying.tail() }
                        ) {
                            let text = try await app.text("m\(number)")
                            return text?.contains("CONFERENCE") == true ? text : nil
                        }
                        #expect(text.contains("PARTSTAT=ACCEPTED"), "\(number)")
                        #expect(text.components(separatedBy: "CONFERENCE;").count == 2, "\(number)")
                        // Hours may have gone by between both writings of the invitation.
                        let kept = Set(Self.own(text)).filter { !$0.hasPrefix("DTSTART") && !$0.hasPrefix("DTEND") }
                        #expect(
                            kept == Set(before).filter { !$0.hasPrefix("DTSTART") && !$0.hasPrefix("DTEND") },
                            "\(number)")
                    }
                    try await staying.cut()
                    for node in nodes { try await node.child.cut() }
                } catch {
                    try? await staying.cut()
                    for node in nodes { try? await node.child.cut() }
                    throw error
                }
                await app.close()
                for person in [alice, bob] { await person.close() }
            }
        }

        private func holder(of person: Person, _ nodes: [ConnectorNode], _ domain: Domain) async throws -> Int {
            let answer = try JSONDocument(
                text: try await nodes[0].ask("why", person.id, "--json", folder: domain.folder)
            ).root
            return nodes.firstIndex { $0.name == answer["connector"]?.string } ?? 0
        }
    }
}
