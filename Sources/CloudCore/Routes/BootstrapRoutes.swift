import Hummingbird
import WireText

/// `GET /bootstrap?email=E`: where the customer of an e-mail address is at home. Needs no token and tells nothing of
/// persons: only the domain counts.
struct BootstrapRoutes {
    let services: CoreServices

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.get("bootstrap") { request, _ -> Response in
            guard let address = request.uri.queryParameters["email"].map(String.init), address.utf8.count <= 320 else {
                throw Refusal(.badRequest, "email is missing: expected ?email=NAME@DOMAIN")
            }
            guard let organisation = services.configuration.organisation(ofAddress: address) else {
                throw Refusal(.notFound, "no customer of this core has that domain")
            }
            let urls = services.urls
            return .json { json in
                json.member("organisation", organisation.id)
                json.member("authorizationServer", organisation.authorizationServer)
                json.member("encryption", urls.encryption)
                json.member("devices", urls.devices)
                json.member("conversations", urls.conversations)
                json.member("files", urls.files)
                json.member("directory", urls.directory)
                json.member("search", urls.search)
                json.member("previews", urls.previews)
                json.member("ediscovery", urls.ediscovery)
                json.member("calendar", urls.calendar)
                json.member("meetings", urls.meetings)
                json.member("presence", urls.presence)
                json.member("kmsCluster", organisation.kmsCluster)
            }
        }
    }
}
