import CalendarProtocol
import Foundation
import HDSClient
import Synchronization
import Testing
import WireText

extension StoryTests {
    /// Core, KMS, authorization service and `hds` as they are delivered; a stand-in for the connector.
    @Suite("Meetings, with the real core and the real KMS") struct MeetingStoryTests {
        @Test(
            "A meeting from the calendar gets its room and its space; nothing of its texts is in the core's reach",
            .timeLimit(.minutes(5)))
        func story() async throws {
            let domain = try await Domain.make()
            try await StandInConnector.enter(domain)
            let deployment = Deployment(domain)
            do {
                try await deployment.startAll()
                try await play(deployment)
                try await deployment.end()
            } catch {
                try? await deployment.end()
                throw error
            }
        }

        private func play(_ deployment: Deployment) async throws {
            let domain = deployment.domain
            let alice = try await Person.logIn("alice", in: deployment)
            let bob = try await Person.logIn("bob", in: deployment)
            // So that the core knows him.
            _ = try await bob.client.changes(in: UUID().uuidString.lowercased())
            let connector = try await StandInConnector(deployment, owner: alice.id)
            let people = [
                MeetingPerson(address: alice.email, userID: alice.id, answer: "accepted"),
                MeetingPerson(address: bob.email, userID: bob.id), MeetingPerson(address: "carol@elsewhere.example"),
            ]
            func hds(_ words: String...) async throws -> String {
                try await ChildProcess.run(
                    Repository.program("hds"), ["meetings"] + words, folder: domain.folder,
                    environment: ["HDS_HOME": domain.path("home-alice-first"), "TZ": "Europe/Berlin"])
            }
            try await connector.plan("m1-budget", "Zebra budget", people: people)
            #expect(try await hds().contains("Zebra budget  (waits for join details)"))
            let shown = try JSONDocument(text: try await hds("show", "m1-b", "--json")).root
            #expect(shown["location"]?.string == "@meet")
            #expect(shown["participants"]?.elements?.count == 3)
            #expect(shown["wantsJoinDetails"]?.boolean == true)

            // Written once by whoever looks after it.
            let outcome = try JSONDocument(text: try await hds("attend", "--once", "--json")).root
            #expect(outcome["outcome"]?.string == "written")
            #expect(try await hds("attend", "--once", "--json").isEmpty)
            let url = try #require(outcome["url"]?.string)
            #expect(url.hasPrefix(domain.coreURL + "/meet/"))
            #expect(try await hds("join", "m1-budget").trimmingCharacters(in: .whitespacesAndNewlines) == url)
            // Bob reads the space under keys of the KMS, and not the meeting.
            let space = try await bob.spaces.find("Zebra budget")
            #expect(space.id == outcome["spaceId"]?.string)
            try await alice.spaces.post("See you there", in: alice.spaces.find("Zebra budget"))
            #expect(try await bob.texts(of: space) == ["See you there"])
            #expect(try await bob.client.meetings.list().isEmpty)

            // Somebody stays, and a meeting comes.
            let staying = try ChildProcess(
                Repository.program("hds"), ["meetings", "attend", "--json"], output: domain.path("log/attend.log"),
                environment: ["HDS_HOME": domain.path("home-alice-first")])
            do {
                try await connector.plan("m2-plans", "Zebra plans", people: people)
                _ = try await eventually("join details of m2", seen: { staying.tail() }) {
                    connector.book.withLock { $0.meetings["m2-plans"]?.hasJoinDetails == true } ? true : nil
                }
                try await staying.cut()
            } catch {
                try? await staying.cut()
                throw error
            }

            // Sealed commands.
            #expect(try await hds("move", "m2-plans", "--start", "2027-03-01T09:00").contains("Mon 2027-03-01 09:00"))
            #expect(
                connector.book.withLock { $0.meetings["m2-plans"]?.start }
                    == Timestamp(iso8601: "2027-03-01T08:00:00Z"))
            #expect(
                try await hds(
                    "create", "Zebra party", "--start", "2027-03-02T18:00", "--location", "@meet", "--with", bob.email
                ).contains("Made"))
            guard case .createEvent(let event) = connector.book.withLock({ $0.commands.last?.action }) else {
                Issue.record("no event was asked for")
                return
            }
            #expect(event.subject == "Zebra party")
            #expect(event.timeZone == "Europe/Berlin")
            #expect(event.attendees?.map(\.email) == [bob.email])
            #expect(try await hds("busy", bob.email).contains("busy"))
            #expect(try await hds("cancel", "m2-plans").contains("is cancelled"))
            #expect(try await !hds("list", "--from", "2027-02-28", "--to", "2027-03-05").contains("Zebra plans"))
            let from = Timestamp.now()
            try await connector.tell([.absence(userID: bob.id, .init(from: from, to: from.adding(seconds: 86_400)))])
            #expect(try await hds("away", bob.email).contains("is away from"))
            #expect(try await hds("status").hasPrefix("ok since"))

            await connector.stop()
            for person in [alice, bob] { await person.close() }
            for service in Service.allCases { try await deployment[service]?.cut() }
            // The core has had it all, and nothing to read.
            for place in try FileManager.default.subpathsOfDirectory(atPath: domain.path("core")) + [
                "../log/hds-core.log"
            ] {
                guard let octets = FileManager.default.contents(atPath: domain.path("core/" + place)) else { continue }
                #expect(octets.range(of: Data("Zebra".utf8)) == nil, "\(place)")
                #expect(octets.range(of: Data("carol@elsewhere".utf8)) == nil, "\(place)")
            }
        }
    }
}
