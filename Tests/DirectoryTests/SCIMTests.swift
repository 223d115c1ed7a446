import Diagnostics
import DirectoryModel
import JOSESignature
import Foundation
import SCIMServer
import Testing
import TokenIssuer
import WireText

/// Requests as the identity providers send them, in their own dialects, to the server without a socket.
@Suite("SCIM 2.0")
struct SCIMTests {
    private static let token = String(repeating: "t", count: 64)

    private struct World {
        let directory: DirectoryWorld
        let server: SCIMServer

        init() throws {
            let directory = try DirectoryWorld()
            self.directory = directory
            server = try SCIMServer(
                store: directory.service.directory, token: Redacted(SCIMTests.token), base: "https://auth.example.com",
                now: { directory.clock.now }, known: { directory.service.accounts.ofFile.user(email: $0)?.id },
                desk: { try await directory.service.take($0, of: SCIMServer.source, writing: $1) })
        }

        func send(
            _ method: String, _ path: String, _ body: String = "", query: [String: String] = [:],
            ifMatch: String? = nil,
            ifNoneMatch: String? = nil
        ) async throws -> (status: Int, root: JSONNode?, etag: String?) {
            let reply = await server.answer(
                SCIMRequest(
                    method: method, path: path.split(separator: "/").map(String.init), query: query,
                    body: Array(body.utf8), ifMatch: ifMatch, ifNoneMatch: ifNoneMatch))
            return (reply.status, reply.body.isEmpty ? nil : try JSONDocument(reply.body).root, reply.etag)
        }

        func create(_ name: String, external: String? = nil) async throws -> String {
            let reply = try await send("POST", "Users", SCIMTests.user(name, external: external))
            #expect(reply.status == 201)
            return try #require(reply.root?["id"]?.string)
        }
    }

    private static func user(_ name: String, external: String? = nil, active: String = "true") -> String {
        """
        {"schemas":["urn:ietf:params:scim:schemas:core:2.0:User",
          "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
         "externalId":\(external.map { "\"\($0)\"" } ?? "null"),"userName":"\(name)@example.com","active":\(active),
         "displayName":"\(name)","name":{"givenName":"\(name)","familyName":"Example"},"title":"Clerk",
         "emails":[{"primary":true,"type":"work","value":"\(name)@example.com"}],"password":"never kept",
         "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Sales"}}
        """
    }

    @Test("a user comes, is found, changes and goes, and the account follows each step before the answer")
    func life() async throws {
        let world = try World()
        let id = try await world.create("carol")
        let accounts = world.directory.service.accounts
        #expect(accounts.accounts.user(email: "carol@example.com")?.id == id)
        let found = try await world.send("GET", "Users", query: ["filter": #"userName eq "CAROL@example.com""#])
        #expect(found.root?["totalResults"]?.integer == 1)
        let shown = try #require(found.root?["Resources"]?.elements?.first)
        #expect(shown["id"]?.string == id && shown["password"] == nil && shown["active"]?.boolean == true)
        try await world.directory.signIn(id)
        let put = try await world.send("PUT", "Users/\(id)", Self.user("carol", active: "false"))
        #expect(put.status == 200 && put.root?["active"]?.boolean == false)
        #expect(try await world.directory.list().disabled[id] != nil)
        #expect(try await world.directory.service.grants.holdings(of: id) == (0, 0))
        #expect(try await world.send("PUT", "Users/\(id)", Self.user("carol")).status == 200)
        #expect(try await world.directory.list().disabled.isEmpty)
        #expect(try await world.send("DELETE", "Users/\(id)").status == 204)
        #expect(try await world.directory.list().disabled[id] != nil)
        #expect(try await world.send("GET", "Users/\(id)").status == 404)
    }

    @Test(
        "every dialect of deactivating cuts the person off",
        arguments: [
            // Okta
            #"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}"#,
            // Entra ID, before and with the flag aadOptscim062020
            #"{"Operations":[{"op":"Replace","path":"active","value":"False"}]}"#,
            #"{"Operations":[{"op":"replace","path":"active","value":false}]}"#,
            #"{"Operations":[{"op":"Add","path":"active","value":"false"},{"op":"Replace","path":"displayName","value":"gone"}]}"#,
            #"{"Operations":[{"op":"replace","path":"urn:ietf:params:scim:schemas:core:2.0:User:active","value":false}]}"#,
        ])
    func deactivation(patch: String) async throws {
        let world = try World()
        let id = try await world.create("carol")
        #expect(try await world.send("PATCH", "Users/\(id)", patch).status == 200)
        #expect(try await world.directory.list().disabled[id] != nil)
        #expect(world.directory.isDisabled(id) == nil, "no account of the file, and none of the directory any more")
        let back = #"{"Operations":[{"op":"Replace","path":"active","value":"True"}]}"#
        #expect(try await world.send("PATCH", "Users/\(id)", back).status == 200)
        #expect(try await world.directory.list().disabled.isEmpty && world.directory.isDisabled(id) == false)
    }

    @Test("PATCH changes addresses by their type, dotted names and several at once, all or nothing")
    func patches() async throws {
        let world = try World()
        let id = try await world.create("carol")
        func patch(_ operations: String) async throws -> JSONNode? {
            try await world.send("PATCH", "Users/\(id)", #"{"Operations":[\#(operations)]}"#).root
        }
        let mail = try await patch(
            #"{"op":"Replace","path":"emails[type eq \"work\"].value","value":"new@example.com"}"#)
        #expect(mail?["emails"]?.elements?.first?["value"]?.string == "new@example.com")
        #expect(world.directory.service.accounts.accounts.user(email: "new@example.com")?.id == id)
        let dotted = try await patch(
            #"{"op":"Add","value":{"name.givenName":"C","emails[type eq \"home\"].value":"h@example.com"}}"#)
        #expect(dotted?["name"]?["givenName"]?.string == "C" && dotted?["emails"]?.elements?.count == 2)
        let removed = try await patch(#"{"op":"remove","path":"emails[type eq \"home\"]"}"#)
        #expect(removed?["emails"]?.elements?.count == 1)
        let ignored = try await patch(
            #"{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"x"}"#)
        #expect(ignored?["userName"]?.string == "carol@example.com", "what is not kept is passed over")
        let refused = try await patch(
            #"{"op":"replace","path":"displayName","value":"other"},{"op":"remove","path":"userName"}"#)
        #expect(refused?["scimType"]?.string == "mutability")
        #expect(try await world.send("GET", "Users/\(id)").root?["displayName"]?.string == "carol")
    }

    @Test("groups take and give members in both dialects, and only users of the client")
    func groups() async throws {
        let world = try World()
        let (one, two) = (try await world.create("one"), try await world.create("two"))
        let made = try await world.send(
            "POST", "Groups", #"{"displayName":"staff","externalId":"g","members":[{"value":"\#(one)"}]}"#)
        let id = try #require(made.root?["id"]?.string)
        func members(_ patch: String? = nil) async throws -> [String] {
            if let patch {
                #expect(
                    try await world.send("PATCH", "Groups/\(id)", #"{"Operations":[\#(patch)]}"#).status == 200,
                    "\(patch)")
            }
            return try await world.directory.service.directory.groups().first?.members ?? []
        }
        #expect(try await members() == [one])
        #expect(
            try await members(#"{"op":"Add","path":"members","value":[{"value":"\#(two)"}]}"#) == [one, two].sorted())
        #expect(try await members(#"{"op":"remove","path":"members[value eq \"\#(one)\"]"}"#) == [two])
        #expect(try await members(#"{"op":"add","value":{"members":[{"value":"\#(one)"}]}}"#).count == 2)
        #expect(try await members(#"{"op":"Remove","path":"members","value":[{"value":"\#(two)"}]}"#) == [one])
        #expect(try await members(#"{"op":"remove","path":"members"}"#) == [])
        #expect(
            try await members(
                #"{"op":"replace","value":{"id":"\#(id)","displayName":"all","members":[{"value":"\#(one)"}]}}"#) == [
                    one
                ])
        let foreign = #"{"op":"add","path":"members","value":[{"value":"\#(DirectoryWorld.alice)"}]}"#
        #expect(try await world.send("PATCH", "Groups/\(id)", #"{"Operations":[\#(foreign)]}"#).status == 400)
        let without = try await world.send(
            "GET", "Groups", query: ["filter": #"displayName eq "ALL""#, "excludedAttributes": "members"])
        #expect(without.root?["Resources"]?.elements?.first?["members"] == nil)
        #expect(without.root?["totalResults"]?.integer == 1)
        #expect(try await world.send("DELETE", "Groups/\(id)").status == 204)
        #expect(try await world.directory.service.directory.groups().isEmpty)
    }

    @Test(
        "who was deleted and comes again with the same externalId has the same id, and by an old address nobody has it")
    func sameID() async throws {
        let world = try World()
        let external = "0a1b2c3d-1111-4000-8000-000000000001"
        let id = try await world.create("carol", external: external)
        #expect(id == external, "a UUID that nobody has")
        #expect(try await world.send("DELETE", "Users/\(id)").status == 204)
        let other = try await world.create("carol", external: "someone-else")
        #expect(other != id)
        #expect(try await world.send("DELETE", "Users/\(other)").status == 204)
        #expect(try await world.create("carol", external: external) == id)
        #expect(try await world.directory.list().disabled[id] == nil)
        // The account of the file is taken by its address.
        #expect(try await world.create("alice") == DirectoryWorld.alice)
    }

    @Test("pages, ETags and what is there twice are as the RFC says")
    func protocolDetails() async throws {
        let world = try World()
        for number in 1...7 { _ = try await world.create("user\(number)") }
        var seen: Set<String> = []
        for start in [1, 4, 7, 10] {
            let page = try await world.send("GET", "Users", query: ["startIndex": "\(start)", "count": "3"]).root
            #expect(page?["totalResults"]?.integer == 7)
            #expect(page?["itemsPerPage"]?.integer == [1: 3, 4: 3, 7: 1, 10: 0][start])
            for node in page?["Resources"]?.elements ?? [] { seen.insert(node["id"]?.string ?? "") }
        }
        #expect(seen.count == 7)
        let twice = try await world.send("POST", "Users", Self.user("USER1"))
        #expect(twice.status == 409 && twice.root?["scimType"]?.string == "uniqueness")
        let id = try #require(seen.first)
        let first = try await world.send("GET", "Users/\(id)")
        let etag = try #require(first.etag)
        #expect(try await world.send("GET", "Users/\(id)", ifNoneMatch: etag).status == 304)
        let patch = #"{"Operations":[{"op":"replace","path":"displayName","value":"x"}]}"#
        #expect(try await world.send("PATCH", "Users/\(id)", patch, ifMatch: etag).status == 200)
        #expect(try await world.send("PATCH", "Users/\(id)", patch, ifMatch: etag).status == 412)
        #expect(try await world.send("DELETE", "Users/\(id)", ifMatch: etag).status == 412)
        #expect(first.root?["meta"]?["location"]?.string == "https://auth.example.com/scim/v2/Users/\(id)")
    }

    @Test("filters of eq and and are understood, everything else is refused as invalidFilter")
    func filters() async throws {
        let world = try World()
        let id = try await world.create("carol", external: "Ext-1")
        _ = try await world.create("dave")
        for (filter, count) in [
            (#"externalId eq "Ext-1""#, 1), (#"externalId eq "ext-1""#, 0), (#"id eq "\#(id)""#, 1),
            (#"userName eq "carol@example.com" and active eq true"#, 1), (#"active eq true"#, 2),
            (#"active eq "True""#, 2), (#"emails.value eq "CAROL@example.com""#, 1),
            (#"emails eq "dave@example.com""#, 1),
            (#"emails[type eq "work"].value eq "carol@example.com""#, 1),
            (#"emails[type eq "home"].value eq "carol@example.com""#, 0), (#"name.familyName eq "example""#, 2),
            (#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "dave@example.com""#, 1),
            (#"userName eq "a\"b""#, 0),
        ] {
            let reply = try await world.send("GET", "Users", query: ["filter": filter])
            #expect(reply.root?["totalResults"]?.integer == Int64(count), "\(filter)")
        }
        for filter in [
            #"userName sw "c""#, #"userName eq "c" or active eq true"#, #"not (active eq true)"#, "userName eq",
            #"userName eq "c"#, #"emails[type eq "work" and value eq "x"#, "eq eq eq", #"userName pr"#, "((((",
            String(repeating: "a", count: 2000),
        ] {
            let reply = try await world.send("GET", "Users", query: ["filter": filter])
            #expect(reply.status == 400 && reply.root?["scimType"]?.string == "invalidFilter", "\(filter.prefix(80))")
        }
    }

    @Test("hostile bodies are refused with a reason, and nothing is kept of them")
    func hostile() async throws {
        let world = try World()
        for body in [
            "", "[]", "null", "{", #"{"userName":1}"#, #"{"userName":""}"#, #"{"userName":"x"}"#,
            #"{"userName":"a b@c d"}"#, #"{"userName":"x@example.com","active":"perhaps"}"#,
            #"{"userName":"x@example.com","displayName":"a\u0000b"}"#,
            #"{"userName":"\#(String(repeating: "x", count: 300))@example.com"}"#,
            String(repeating: "[", count: 100_000),
        ] { #expect(try await world.send("POST", "Users", body).status == 400, "\(body.prefix(60))") }
        #expect(try await world.send("GET", "Users").root?["totalResults"]?.integer == 0)
        for (method, path) in [("GET", "Nothing"), ("GET", "Users/x/y"), ("DELETE", "Users"), ("POST", "Schemas")] {
            #expect([404, 405].contains(try await world.send(method, path).status), "\(method) \(path)")
        }
        let id = try await world.create("carol")
        for patch in [
            "{}", #"{"Operations":[]}"#, #"{"Operations":[{"op":"move","path":"x"}]}"#,
            #"{"Operations":[{"op":"remove"}]}"#, #"{"Operations":[{"op":"add","path":"a[b"}]}"#,
            #"{"Operations":[{"op":"replace","value":3}]}"#, #"{"Operations":[{"op":"replace","path":5,"value":1}]}"#,
        ] { #expect(try await world.send("PATCH", "Users/\(id)", patch).status == 400, "\(patch)") }
    }

    @Test("only the client's token opens it, and it has to be long")
    func token() throws {
        let world = try World()
        #expect(world.server.admits("Bearer \(Self.token)") && world.server.admits("bearer \(Self.token)"))
        for wrong in [nil, "", "Bearer ", "Bearer x", Self.token, "Basic \(Self.token)", "Bearer \(Self.token)t"] {
            #expect(!world.server.admits(wrong))
        }
        #expect(throws: DiagnosedError.self) {
            _ = try SCIMServer(
                store: world.directory.service.directory, token: Redacted("short"), base: "https://a",
                desk: { _, _ in true })
        }
    }

    @Test("a client can find out what this server can")
    func discovery() async throws {
        let world = try World()
        let configuration = try await world.send("GET", "ServiceProviderConfig").root
        #expect(configuration?["patch"]?["supported"]?.boolean == true)
        #expect(configuration?["bulk"]?["supported"]?.boolean == false)
        #expect(try await world.send("GET", "ResourceTypes").root?["totalResults"]?.integer == 2)
        #expect(try await world.send("GET", "ResourceTypes/User").root?["endpoint"]?.string == "/Users")
        let schema = try await world.send("GET", "Schemas/urn:ietf:params:scim:schemas:core:2.0:User").root
        #expect(schema?["attributes"]?.elements?.contains { $0["name"]?.string == "userName" } == true)
        #expect(try await world.send("GET", "Schemas/urn:none").status == 404)
    }
}
