//! millstream-planner
