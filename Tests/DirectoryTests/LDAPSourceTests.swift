import Diagnostics
import DirectoryModel
import JOSESignature
import LDAPDirectory
import TestServers
import Testing
import TokenIssuer
import WireText

@Suite("LDAP, against a real OpenLDAP server", .enabled(if: TestDirectoryServer.isInstalled))
struct LDAPSourceTests {
    private func with(_ body: (TestDirectoryServer, DirectoryServerFiles) async throws -> Void) async throws {
        let files = try DirectoryServerFiles()
        let server = try await TestDirectoryServer.start(files)
        defer { server.end() }
        try await body(server, files)
    }

    private func settings(
        _ server: TestDirectoryServer, _ files: DirectoryServerFiles, _ change: (inout LDAPSettings) -> Void = { _ in }
    ) -> LDAPSettings {
        var settings = LDAPSettings(
            name: "corp", url: "ldaps://127.0.0.1:\(server.tlsPort)", authorities: files.root,
            bindDN: TestDirectoryServer.reader.dn, password: Redacted(TestDirectoryServer.reader.password),
            people: .init(base: TestDirectoryServer.people, filter: LDAPSettings.Kind.openldap.peopleFilter),
            groups: .init(base: TestDirectoryServer.groups, filter: LDAPSettings.Kind.openldap.groupFilter))
        settings.pageSize = 20
        change(&settings)
        return settings
    }

    @Test("people come in pages beyond the server's limit, locked ones as disabled, and groups with their members")
    func reading() async throws {
        try await with { server, files in
            try await server.add(people: 1...130)
            try await server.lock("user7")
            try await server.change(
                """
                dn: cn=staff,\(TestDirectoryServer.groups)
                changetype: add
                objectClass: groupOfNames
                cn: staff
                member: uid=user1,\(TestDirectoryServer.people)
                member: UID=user2, \(TestDirectoryServer.people)
                member: cn=nobody

                """)
            for url in ["ldaps://127.0.0.1:\(server.tlsPort)", "ldap://127.0.0.1:\(server.port)"] {
                let source = LDAPSource(
                    settings(server, files) {
                        $0.url = url
                        $0.startTLS = url.hasPrefix("ldap:")
                    })
                let reading = try await source.read()
                #expect(reading.people.count == 130 && reading.unusable == 0)
                #expect(reading.people.filter(\.isDisabled).map(\.userName) == ["user7"])
                let one = try #require(reading.people.first { $0.userName == "user1" })
                #expect(
                    one.email == "user1@example.com" && one.name == "Person user1" && UUIDText.isValid(one.external))
                let group = try #require(reading.groups.first)
                #expect(group.name == "staff" && group.members.count == 2 && group.members.contains(one.external))
            }
        }
    }

    @Test("a server of another authority or name, a wrong password and a wrong base are refused with what to do")
    func refusals() async throws {
        try await with { server, files in
            func fault(_ change: (inout LDAPSettings) -> Void) async -> (DiagnosedError.Fault, String)? {
                do {
                    _ = try await LDAPSource(settings(server, files, change)).read()
                    return nil
                } catch {
                    let error = error as? DiagnosedError
                    return error.map { ($0.fault, "\($0)") }
                }
            }
            #expect(await fault { _ in } == nil)
            #expect(await fault { $0.authorities = files.other }?.0 == .peer)
            // libldap holds localhost against the machine's own name, for which the certificate is not.
            #expect(await fault { $0.url = "ldaps://localhost:\(server.tlsPort)" }?.0 == .peer)
            let password = await fault { $0.password = Redacted("se-cret") }
            #expect(password?.0 == .configuration && password?.1.contains("se-cret") == false)
            #expect(await fault { $0.people.base = "ou=nowhere,dc=example,dc=com" }?.0 == .configuration)
            #expect(await fault { $0.people.filter = "(uid=" }?.0 == .configuration)
            try await server.add(people: 1...3)
            #expect(await fault { $0.maximumEntries = 2 }?.0 == .configuration)
            server.end()
            #expect(await fault { _ in }?.0 == .peer)
        }
    }

    @Test("the marker stays while nothing changes, and is another one after each change")
    func marker() async throws {
        try await with { server, files in
            let source = LDAPSource(settings(server, files))
            let first = try #require(try await source.marker())
            #expect(try await source.marker() == first)
            try await server.add(people: 1...1)
            let second = try #require(try await source.marker())
            #expect(second != first)
            try await server.remove("user1")
            #expect(try await source.marker() != second)
        }
    }

    @Test(
        "a server that does content synchronization tells of each change at once, and of nothing when nothing happens")
    func watch() async throws {
        try await with { server, files in
            let source = LDAPSource(settings(server, files))
            try await server.add(people: 1...3)
            /// Whether the wait ended long before its time.
            func told(_ change: () async throws -> Void) async throws -> Bool {
                let marker = try await source.marker()
                let begun = ContinuousClock.now
                async let waiting: Void = source.waitForChange(since: marker, upTo: .seconds(60))
                try await change()
                try await waiting
                return begun.duration(to: .now) < .seconds(50)
            }
            #expect(try await told { try await server.remove("user1") })
            #expect(try await told { try await server.lock("user2") })
            #expect(try await told { try await server.add(people: 7...7) })
            let marker = try await source.marker()
            let begun = ContinuousClock.now
            try await source.waitForChange(since: marker, upTo: .milliseconds(600))
            #expect(begun.duration(to: .now) >= .milliseconds(600), "nothing happened")
            // Something that came before the wait is told, too: nothing falls between marker and watch.
            try await server.remove("user3")
            let late = ContinuousClock.now
            try await source.waitForChange(since: marker, upTo: .seconds(60))
            #expect(late.duration(to: .now) < .seconds(50))
            // A stop does not wait for the end of the time.
            let stopped = Task { try await source.waitForChange(since: try await source.marker(), upTo: .seconds(60)) }
            stopped.cancel()
            _ = await stopped.result
            #expect(late.duration(to: .now) < .seconds(100))
        }
    }

    @Test("a filter takes a name with its special characters as it is, and nothing more (RFC 4515)")
    func filters() async throws {
        #expect(LDAPFilter.escaped("a*(b)\\\0é") == "a\\2a\\28b\\29\\5c\\00\\c3\\a9")
        try await with { server, files in
            try await server.change(TestDirectoryServer.person("star", mail: "a*b@example.com"))
            try await server.add(people: 1...5)
            for (mail, count) in [("a*b@example.com", 1), ("*", 0), ("*)(uid=*", 0), ("user1@example.com", 1)] {
                let source = LDAPSource(
                    settings(server, files) { $0.people.filter = "(mail=\(LDAPFilter.escaped(mail)))" })
                #expect(try await source.read().people.count == count, "\(mail)")
            }
        }
        for (text, isPlausible) in [
            ("(a=b)", true), ("(&(a=b)(c=d))", true), ("a=b", false), ("(a=b)(c=d)", false), ("((a=b)", false),
            ("(a=b))(", false),
        ] { #expect(LDAPFilter.isPlausible(text) == isPlausible, "\(text)") }
    }

    @Test("a person who is deleted or locked in the directory is cut off in the next round")
    func leavers() async throws {
        try await with { server, files in
            let world = try DirectoryWorld()
            let sync = DirectorySync(LDAPSource(settings(server, files)), world.service)
            try await server.add(people: 1...3)
            try await server.change(TestDirectoryServer.person("alice"))
            await sync.round()
            #expect(sync.standing.people == 4 && sync.standing.trouble == nil)
            try await world.signIn(DirectoryWorld.alice)
            try await server.remove("alice")
            try await server.lock("user2")
            await sync.round()
            let list = try await world.list()
            #expect(list.disabled.count == 2 && list.disabled[DirectoryWorld.alice] != nil)
            #expect(try await world.service.grants.holdings(of: DirectoryWorld.alice) == (0, 0))
        }
    }

    @Test("an account's bits and texts say whether it is disabled, and what can not be read counts as disabled")
    func rules() {
        let bits = LDAPSettings.DisabledRule(attribute: "userAccountControl", test: .bits(2))
        #expect(
            bits.applies(to: ["514"]) && !bits.applies(to: ["512"]) && bits.applies(to: ["x"]) && !bits.applies(to: []))
        let text = LDAPSettings.DisabledRule(attribute: "nsAccountLock", test: .equals("true"))
        #expect(text.applies(to: ["TRUE"]) && !text.applies(to: ["false"]))
        let present = LDAPSettings.DisabledRule(attribute: "locked", test: .present)
        #expect(present.applies(to: [""]) && !present.applies(to: []))
    }
}
