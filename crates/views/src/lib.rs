//! millstream-views
